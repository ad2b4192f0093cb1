"""What is wrong with Blockonomics' settings, said at the start and not to a shopper."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from payments.bitcoin import xpub

SAFE_SECRET_LENGTH = 16


def check_settings() -> Iterator[CheckMessage]:
    if not settings.BLOCKONOMICS_API_KEY:
        yield Error(
            "BLOCKONOMICS_API_KEY is empty, so no address can be asked for.",
            hint="Copy it from the Blockonomics dashboard, under Stores.",
            id="payments.E002",
        )
    yield from _check_callback_secret(settings.BLOCKONOMICS_CALLBACK_SECRETS)
    if settings.BLOCKONOMICS_XPUB:
        yield from _check_xpub(settings.BLOCKONOMICS_XPUB)
    if settings.BLOCKONOMICS_TEST_MODE and not (settings.DEBUG or settings.STAGING):
        yield Warning(
            "BLOCKONOMICS_TEST_MODE is on: simulated payments count as real ones.",
            hint="Set it to false in a shop that sells something.",
            id="payments.W002",
        )


def check_deployment() -> Iterator[CheckMessage]:
    if not settings.BLOCKONOMICS_URL.startswith("https://"):
        yield Warning(
            "BLOCKONOMICS_URL does not begin with https://.",
            hint="The API key would travel in the open. Set it to https://www.blockonomics.co",
            id="payments.W005",
        )


def _check_callback_secret(secrets: list[str]) -> Iterator[CheckMessage]:
    if not secrets:
        yield Error(
            "BLOCKONOMICS_CALLBACK_SECRET is empty, so every callback is refused.",
            hint='Make one: python -c "import secrets; print(secrets.token_urlsafe(24))"',
            id="payments.E001",
        )
    elif any(len(secret) < SAFE_SECRET_LENGTH for secret in secrets):
        yield Warning(
            "BLOCKONOMICS_CALLBACK_SECRET is short enough to be guessed.",
            hint=f"Take at least {SAFE_SECRET_LENGTH} random characters.",
            id="payments.W001",
        )


def _check_xpub(key: str) -> Iterator[CheckMessage]:
    try:
        xpub.read(key)
    except xpub.NotAKey as error:
        yield Error(
            f"BLOCKONOMICS_XPUB: {error}",
            hint="Copy the extended public key of the wallet that Blockonomics watches.",
            id="payments.E007",
        )
        return
    if not xpub.fits(key, settings.BITCOIN_NETWORK):
        yield Error(
            "BLOCKONOMICS_XPUB is no key for BITCOIN_NETWORK, so every address would be refused.",
            hint="xpub, ypub and zpub go with main; tpub, upub and vpub with the others.",
            id="payments.E007",
        )

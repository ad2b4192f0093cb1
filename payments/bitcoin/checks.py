"""What is wrong with the settings that all ways to pay with bitcoin share."""

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error
from embit.networks import NETWORKS

from . import explorer


def check_settings() -> Iterator[CheckMessage]:
    if settings.BITCOIN_NETWORK not in NETWORKS:
        yield Error(
            f"BITCOIN_NETWORK is {settings.BITCOIN_NETWORK!r}.",
            hint=f"It is one of {', '.join(NETWORKS)}.",
            id="payments.E003",
        )
    elif settings.BITCOIN_NETWORK != "main" and not (settings.DEBUG or settings.STAGING):
        yield Error(
            f"DEBUG is off and BITCOIN_NETWORK is {settings.BITCOIN_NETWORK!r}: goods would be "
            "sold for coins without worth.",
            hint="Set it to main or, if this is a shop to try things with, STAGING to true.",
            id="payments.E009",
        )
    elif settings.BITCOIN_NETWORK == "main" and settings.STAGING:
        yield Error(
            "STAGING is on and BITCOIN_NETWORK is 'main': pages would say that nothing is real "
            "money, and ask for it.",
            hint="Set STAGING to false or, to try things with test coins, BITCOIN_NETWORK to test.",
            id="payments.E022",
        )
    if settings.BLOCK_EXPLORER and not explorer.PATTERN.fullmatch(settings.BLOCK_EXPLORER):
        yield Error(
            "BLOCK_EXPLORER is no https address with one {txid} in it, so receipts have no links.",
            hint="Write it like https://mempool.space/tx/{txid}, or leave it empty.",
            id="payments.E021",
        )

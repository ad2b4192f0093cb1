"""Addresses from extended public keys, and which texts are addresses at all."""

import secrets
from functools import lru_cache

from embit import base58, bip32, script
from embit.base import EmbitError
from embit.networks import NETWORKS

TEST_ADDRESS_PREFIX = "1TestBTCAddress"
BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BECH32_PREFIXES = ("bc1", "tb1", "bcrt1")


def p2sh_p2wpkh(public_key):
    return script.p2sh(script.p2wpkh(public_key))


# The first letter of a key says network and kind of address (SLIP-132): zpub and vpub are BIP84.
KINDS = {
    NETWORKS["main"]["xpub"]: ("main", script.p2pkh),
    NETWORKS["main"]["ypub"]: ("main", p2sh_p2wpkh),
    NETWORKS["main"]["zpub"]: ("main", script.p2wpkh),
    NETWORKS["test"]["xpub"]: ("test", script.p2pkh),
    NETWORKS["test"]["ypub"]: ("test", p2sh_p2wpkh),
    NETWORKS["test"]["zpub"]: ("test", script.p2wpkh),
}


class NotAKey(ValueError):
    """The text is no extended public key of a kind that is known here."""


@lru_cache(maxsize=64)
def receive_branch(key):
    """(network, kind of script, the branch m/0) of an account's extended public key."""
    try:
        account = bip32.HDKey.from_string(key)
        network, kind = KINDS[account.version]
        return NETWORKS[network], kind, account.derive([0])
    except (EmbitError, KeyError, ValueError, IndexError) as error:
        raise NotAKey(
            "This is no extended public key. Give one that starts with xpub, ypub, zpub, tpub, "
            "upub or vpub."
        ) from error


def address_at(key, index):
    """The receiving address m/0/index below an account's key. NotAKey if it is none."""
    network, kind, branch = receive_branch(key)
    return kind(branch.derive([index]).key).address(network)


def is_key(text):
    try:
        receive_branch(text)
    except NotAKey:
        return False
    return True


def invent_test_address():
    """What a store in test mode gets: it looks like an address and is none."""
    return TEST_ADDRESS_PREFIX + "".join(secrets.choice(BASE58) for _ in range(19))


def is_test_address(text):
    return (
        text.isascii()
        and text.startswith(TEST_ADDRESS_PREFIX)
        and text.isalnum()
        and len(text) <= 64
    )


def is_address(text):
    """Whether it is a Bitcoin address of any network, checksum included."""
    try:
        script.address_to_scriptpubkey(text)
    except (EmbitError, ValueError, IndexError):
        return False
    return True


def is_payable(text):
    """Whether the sandbox's chain takes payments to it."""
    return is_address(text) or is_test_address(text)


def networks_of(address):
    """The names of all networks that an address may belong to: several share one form.

    What a store in test mode gets is on none, so it goes with all.
    """
    if is_test_address(address):
        return set(NETWORKS)
    return {name for name, network in NETWORKS.items() if is_of(address, network)}


def is_of(address, network):
    if address.startswith(BECH32_PREFIXES):
        return address.startswith(network["bech32"] + "1")
    return base58.decode_check(address)[:1] in (network["p2pkh"], network["p2sh"])


def smallest_output(address, relay_fee):
    """Satoshis below which nodes call an output to the address dust, as Bitcoin Core has it.

    An output must be worth what it costs, at `relay_fee` satoshis per byte, to make and to spend.
    """
    is_legacy, length = True, 25
    if not is_test_address(address):
        found = script.address_to_scriptpubkey(address)
        is_legacy, length = found.script_type() in ("p2pkh", "p2sh"), len(found.data)
    spending = 148 if is_legacy else 67
    return (8 + 1 + length + spending) * relay_fee


def tidy_address(text):
    """QR codes carry bech32 addresses in capitals; the chain knows them in small letters."""
    text = text.strip()
    return text.lower() if text.lower().startswith(BECH32_PREFIXES) else text

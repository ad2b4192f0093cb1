"""How a transaction is paid for: coins that suffice, the fee, and change, all in satoshis."""

import secrets
from dataclasses import dataclass

from sandbox import keys
from sandbox.chain import customer

SATOSHIS_PER_BYTE = 2
# Of a transaction that spends from and pays to witness addresses.
BYTES_OF_EACH, BYTES_OF_AN_INPUT, BYTES_OF_AN_OUTPUT = 11, 68, 31


@dataclass(frozen=True)
class Funded:
    """`coins` are (address, value); `outputs` are dicts of address, value, is_change."""

    coins: list
    outputs: list
    fee: int
    size: int


def fund(payments, network, settings, kept=(), outbid=0):
    """Pays for (address, value) each, with the coins that are kept and more where they fall short.

    `outbid` is the fee of the transaction to be replaced: nodes take a replacement only for a
    satoshi more for each of its bytes. What no output is worth is left to the miners.
    """
    coins, paid = list(kept), sum(value for _, value in payments)
    while (missing := paid + fee_of(coins, payments, outbid) - worth(coins)) > 0:
        coins += customer.coins(missing, network, first=len(coins))
    change = -missing
    outputs = [{"address": to, "value": value, "is_change": False} for to, value in payments]
    to = customer.change_address(network)
    if change >= max(1, keys.smallest_output(to, settings.dust_relay_fee)):
        place = secrets.randbelow(len(outputs) + 1)
        outputs.insert(place, {"address": to, "value": change, "is_change": True})
    fee = worth(coins) - sum(output["value"] for output in outputs)
    return Funded(coins, outputs, fee, size_of(coins, outputs))


def fee_of(coins, payments, outbid):
    size = size_of(coins, payments) + BYTES_OF_AN_OUTPUT  # for the change
    return max(size * SATOSHIS_PER_BYTE, outbid + size)


def size_of(coins, outputs):
    return BYTES_OF_EACH + BYTES_OF_AN_INPUT * len(coins) + BYTES_OF_AN_OUTPUT * len(outputs)


def worth(coins):
    return sum(value for _, value in coins)

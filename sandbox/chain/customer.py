"""The one who pays: addresses on every network, and as many coins as it takes.

Values are in satoshis. A coin is an (address, value) that an earlier transaction may have left.
"""

import secrets
from functools import cache

from embit import bip32, script
from embit.networks import NETWORKS

# The account m/84'/1'/1' of the seed named in conf.py.
KEY = (
    "vpub5ZAjSNpvVF14mcF4B3B2Q7J1oJupvkwvhJyaZ2dKaPhp26gpVWbuQFchottwTNEdMXwJKyzD6AJEaLpbrYpHjo7Y6"
    "pah9NfPyiuuxCdF4D7"
)
RECEIVING, CHANGE = 0, 1
SMALLEST_COIN = 10_000
MOST_COINS = 3


@cache
def branch(number):
    return bip32.HDKey.from_string(KEY).derive([number])


def address(network, index=0, kind=RECEIVING):
    """The address m/kind/index of the customer, as that network writes it."""
    return script.p2wpkh(branch(kind).derive([index]).key).address(NETWORKS[network])


def change_address(network):
    """A new one each time, as wallets do."""
    return address(network, secrets.randbelow(2**31), CHANGE)


def coins(value, network, first=0):
    """Coins worth at least the value: one to three, all alike. `first` numbers their addresses.

    The customer has coins of 0.0001, 0.001, 0.01 … bitcoin. What needs two or three of one kind
    is paid with these, all else with one of the next larger kind.
    """
    unit = max(SMALLEST_COIN, 10 ** (len(str(value)) - 1))
    count = -(-value // unit)
    if count > MOST_COINS:
        unit, count = 10 * unit, 1
    return [(address(network, first + number), unit) for number in range(count)]


CUSTOMER = address("test")

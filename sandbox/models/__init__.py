"""The facts: accounts with stores and wallets, the chain, the callbacks, and the one settings row.

Money is whole satoshis; prices are Decimal.
"""

from .accounts import Account, Address, Store, Wallet, check_callback_url, check_key
from .deliveries import Attempt, Delivery
from .network import (
    CONFIRMED,
    FIRST_HEIGHT,
    MAX_SATOSHIS,
    PARTIALLY_CONFIRMED,
    SATOSHIS_PER_BITCOIN,
    UNCONFIRMED,
    Block,
    Input,
    Output,
    Transaction,
    received,
)
from .settings import FAULTS, Settings

__all__ = [
    "CONFIRMED",
    "FAULTS",
    "FIRST_HEIGHT",
    "MAX_SATOSHIS",
    "PARTIALLY_CONFIRMED",
    "SATOSHIS_PER_BITCOIN",
    "UNCONFIRMED",
    "Account",
    "Address",
    "Attempt",
    "Block",
    "Delivery",
    "Input",
    "Output",
    "Settings",
    "Store",
    "Transaction",
    "Wallet",
    "check_callback_url",
    "check_key",
    "received",
]

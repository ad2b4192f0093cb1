"""The chain: payments, blocks, and the ways in which a payment goes away again.

Each change of a transaction's status is told twice: to the stores' callbacks, whose rows are
written in the same database transaction, and to the open payment WebSockets after the commit.
"""

from .blocks import mine, mine_when_due, reorg, tip
from .customer import CUSTOMER
from .mempool import ChainError, UnknownTransaction, drop, pay, replace, take_back

__all__ = [
    "CUSTOMER",
    "ChainError",
    "UnknownTransaction",
    "drop",
    "mine",
    "mine_when_due",
    "pay",
    "reorg",
    "replace",
    "take_back",
    "tip",
]

"""The chain: payments, blocks, and the ways in which a payment goes away again.

Each change of a transaction's status is told twice: to the stores' callbacks, whose rows are
written in the same database transaction, and to the open payment WebSockets after the commit.
"""

import secrets
from datetime import timedelta

from django.db.models import Max
from django.db.transaction import atomic, on_commit
from django.utils import timezone

from sandbox import keys
from sandbox.blockonomics import callbacks, websocket
from sandbox.models import (
    CONFIRMED,
    FIRST_HEIGHT,
    MAX_SATOSHIS,
    PARTIALLY_CONFIRMED,
    UNCONFIRMED,
    Block,
    Output,
    Settings,
    Transaction,
)

# The one who pays: m/84'/1'/1'/0/0 of the seed named in conf.py.
CUSTOMER = "tb1q27fs4ph9ammv3f5dylf6qaf4lc3xncteyd08xq"
SATOSHIS_PER_BYTE = 2


class ChainError(ValueError):
    """The chain cannot do this; the message says why, and what to do."""


class UnknownTransaction(ChainError):
    """No transaction has this id."""


def tip():
    """The height of the newest block."""
    return Block.objects.aggregate(height=Max("height"))["height"] or FIRST_HEIGHT


@atomic
def pay(outputs, rbf=0):
    """A new transaction that pays (address, satoshis) each, in the mempool.

    ChainError when an address or a value is none.
    """
    Settings.objects.locked()
    payment = enter_mempool(outputs, rbf)
    announce(payment, UNCONFIRMED)
    return payment


def enter_mempool(outputs, rbf):
    outputs = [(keys.tidy_address(address), value) for address, value in outputs]
    for address, value in outputs:
        check_output(address, value)
    size = 110 + 31 * len(outputs)
    payment = Transaction.objects.create(
        txid=secrets.token_hex(32),
        payer=CUSTOMER,
        fee=size * SATOSHIS_PER_BYTE,
        size=size,
        rbf=rbf,
    )
    Output.objects.bulk_create(
        Output(transaction=payment, position=position, address=address, value=value)
        for position, (address, value) in enumerate(outputs)
    )
    return Transaction.objects.get(pk=payment.pk)


def check_output(address, value):
    if not keys.is_payable(address):
        raise ChainError(f"{address!r} is no Bitcoin address. Copy it again, in full.")
    if not 0 <= value <= MAX_SATOSHIS:
        raise ChainError(f"{value} is no amount of satoshis. Give 0 to {MAX_SATOSHIS}.")


@atomic
def mine(blocks=1):
    """Adds blocks; the first takes the whole mempool with it. Answers the new height."""
    Settings.objects.locked()
    for _ in range(blocks):
        mine_one()
    return tip()


def mine_one():
    block = Block.objects.create(height=tip() + 1)
    Transaction.objects.mempool().update(block=block)
    for payment in Transaction.objects.alive().filter(block=block):
        announce(payment, PARTIALLY_CONFIRMED)
    for payment in Transaction.objects.alive().filter(block__height=block.height - 1):
        announce(payment, CONFIRMED)


@atomic
def mine_when_due(seconds):
    """Mines a block if the newest is that old; so several processes mine no more than one."""
    Settings.objects.locked()
    newest = Block.objects.first()
    if newest is None or newest.mined_at <= timezone.now() - timedelta(seconds=seconds):
        mine_one()


@atomic
def replace(txid, address=None, value=None):
    """Puts another transaction in the place of an unconfirmed one, which is gone.

    A new address or value goes into the first output; the others stay. Marked or not, every
    unconfirmed transaction can be replaced, as on the real network since 2024.
    """
    Settings.objects.locked()
    old = find_unconfirmed(txid)
    outputs = [(output.address, output.value) for output in old.outputs.all()]
    first_address, first_value = outputs[0]
    outputs[0] = (
        first_address if address is None else address,
        first_value if value is None else value,
    )
    new = enter_mempool(outputs, old.rbf or Transaction.Replaceable.OPT_IN)
    remove(old, Transaction.Fate.REPLACED, replaced_by=new)
    announce(new, UNCONFIRMED)
    return new


@atomic
def drop(txid):
    """An unconfirmed transaction is gone: double-spent, or thrown out of the mempool."""
    Settings.objects.locked()
    remove(find_unconfirmed(txid), Transaction.Fate.DROPPED)


def find_unconfirmed(txid):
    payment = Transaction.objects.with_txid(txid).first()
    if payment is None:
        raise UnknownTransaction(f"There is no transaction {txid!r}. Look it up in the explorer.")
    if not payment.is_alive:
        raise ChainError(f"Transaction {txid} was {payment.fate} already.")
    if payment.block is not None:
        raise ChainError(f"Transaction {txid} is in a block. Use reorg to undo the block first.")
    return payment


def remove(payment, fate, replaced_by=None):
    """Blockonomics says nothing when a transaction disappears: what was not sent stays unsent."""
    payment.fate = fate
    payment.replaced_by = replaced_by
    payment.save(update_fields=["fate", "replaced_by"])
    callbacks.cancel(payment)


@atomic
def reorg(blocks):
    """Undoes the newest blocks; their transactions wait in the mempool again. The new height."""
    Settings.objects.locked()
    newest = list(Block.objects.values_list("pk", flat=True)[:blocks])
    if len(newest) < blocks:
        raise ChainError(f"There are only {len(newest)} blocks to undo.")
    Block.objects.filter(pk__in=newest).delete()
    return tip()


def announce(payment, status):
    callbacks.schedule(payment, status)
    for address in payment.addresses:
        message = websocket.message_about(payment, address, status)
        on_commit(lambda address=address, message=message: websocket.send(address, message))

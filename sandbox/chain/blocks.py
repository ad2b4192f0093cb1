"""Blocks: they come, and now and then the newest are undone."""

from datetime import timedelta

from django.db.models import Max
from django.db.transaction import atomic
from django.utils import timezone

from sandbox.chain.mempool import ChainError, announce
from sandbox.models import (
    CONFIRMED,
    FIRST_HEIGHT,
    PARTIALLY_CONFIRMED,
    Block,
    Settings,
    Transaction,
)


def tip():
    """The height of the newest block."""
    return Block.objects.aggregate(height=Max("height"))["height"] or FIRST_HEIGHT


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
def reorg(blocks):
    """Undoes the newest blocks; their transactions wait in the mempool again. The new height."""
    Settings.objects.locked()
    newest = list(Block.objects.values_list("pk", flat=True)[:blocks])
    if len(newest) < blocks:
        raise ChainError(f"There are only {len(newest)} blocks to undo.")
    Block.objects.filter(pk__in=newest).delete()
    return tip()

"""Transactions that wait for a block: how they are made, replaced and dropped."""

import secrets

from django.db.transaction import atomic, on_commit

from sandbox import keys
from sandbox.blockonomics import callbacks, websocket
from sandbox.chain import customer
from sandbox.chain.funding import fund
from sandbox.models import MAX_SATOSHIS, UNCONFIRMED, Input, Output, Settings, Transaction

# A transaction's network is the first of these that all its addresses belong to.
NETWORKS = ("test", "regtest", "main")


class ChainError(ValueError):
    """The chain cannot do this; the message says why, and what to do."""


class UnknownTransaction(ChainError):
    """No transaction has this id."""


@atomic
def pay(outputs, rbf=0):
    """A new transaction that pays (address, satoshis) each, in the mempool.

    ChainError when an address or a value is none, or the addresses are of several networks.
    """
    settings = Settings.objects.locked()
    payment = enter_mempool(outputs, rbf, settings)
    announce(payment, UNCONFIRMED)
    return payment


def enter_mempool(outputs, rbf, settings, instead_of=None):
    """Writes the transaction. One `instead_of` another spends the same coins, for a higher fee."""
    outputs = [(keys.tidy_address(address), value) for address, value in outputs]
    for address, value in outputs:
        check_output(address, value, settings)
    kept = [(spent.address, spent.value) for spent in instead_of.inputs.all()] if instead_of else []
    network = network_of(address for address, _ in [*kept, *outputs])
    funded = fund(outputs, network, settings, kept, outbid=instead_of.fee if instead_of else 0)
    payment = Transaction.objects.create(
        txid=secrets.token_hex(32), fee=funded.fee, size=funded.size, rbf=rbf
    )
    Input.objects.bulk_create(
        Input(transaction=payment, position=position, address=address, value=value)
        for position, (address, value) in enumerate(funded.coins)
    )
    Output.objects.bulk_create(
        Output(transaction=payment, position=position, **output)
        for position, output in enumerate(funded.outputs)
    )
    return Transaction.objects.get(pk=payment.pk)


def check_output(address, value, settings):
    if not keys.is_payable(address):
        raise ChainError(f"{address!r} is no Bitcoin address. Copy it again, in full.")
    if not 0 <= value <= MAX_SATOSHIS:
        raise ChainError(f"{value} is no amount of satoshis. Give 0 to {MAX_SATOSHIS}.")
    smallest = keys.smallest_output(address, settings.dust_relay_fee)
    if value < smallest:
        raise ChainError(
            f"{value} satoshis are dust, which no node passes on. Give {smallest} or more."
        )


def network_of(addresses):
    common = set.intersection(*map(keys.networks_of, addresses))
    for network in NETWORKS:
        if network in common:
            return network
    raise ChainError("The addresses are of different networks. Pay each network by itself.")


@atomic
def replace(txid, address=None, value=None):
    """Puts another transaction in the place of an unconfirmed one, which is gone.

    A new address or value goes into the first output; the others stay. Marked or not, every
    unconfirmed transaction can be replaced, as on the real network since 2024.
    """
    settings = Settings.objects.locked()
    old = find_unconfirmed(txid)
    (first_address, first_value), *others = [(o.address, o.value) for o in old.payments]
    first = (
        first_address if address is None else address,
        first_value if value is None else value,
    )
    return put_in_place_of(old, [first, *others], settings)


@atomic
def take_back(txid):
    """Replaces an unconfirmed transaction so that all its money goes back to the customer."""
    settings = Settings.objects.locked()
    old = find_unconfirmed(txid)
    network = network_of([spent.address for spent in old.inputs.all()])
    return put_in_place_of(old, [(customer.address(network), old.total)], settings)


def put_in_place_of(old, outputs, settings):
    new = enter_mempool(outputs, old.rbf or Transaction.Replaceable.OPT_IN, settings, old)
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


def announce(payment, status):
    callbacks.schedule(payment, status)
    for address in payment.addresses:
        message = websocket.message_about(payment, address, status)
        on_commit(lambda address=address, message=message: websocket.send(address, message))

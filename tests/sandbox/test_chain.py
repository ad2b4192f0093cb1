"""Payments, blocks, and payments that go away again."""

import pytest

from sandbox import chain, conf, keys
from sandbox.models import Transaction

pytestmark = pytest.mark.django_db

SHOP, OTHER = (keys.address_at(conf.TEST_KEY, index) for index in (0, 1))


def read(txid):
    return Transaction.objects.get(txid=txid)


def test_a_payment_waits_in_the_mempool():
    payment = chain.pay([(SHOP, 1000)])

    assert len(bytes.fromhex(payment.txid)) == 32
    assert read(payment.txid).confirmations == 0


def test_blocks_bury_a_payment():
    payment = chain.pay([(SHOP, 1000)])
    statuses = []
    for _ in range(3):
        chain.mine()
        statuses.append((read(payment.txid).confirmations, read(payment.txid).status))

    assert statuses == [(1, 1), (2, 2), (3, 2)]


def test_several_blocks_at_once_count_one_by_one():
    payment = chain.pay([(SHOP, 1000)])
    before = chain.tip()

    assert chain.mine(2) == before + 2
    assert read(payment.txid).confirmations == 2


def test_two_outputs_to_one_address_add_up():
    payment = chain.pay([(SHOP, 1), (OTHER, 5), (SHOP, 2)])

    assert payment.value_to(SHOP) == 3
    assert payment.addresses == [SHOP, OTHER]


@pytest.mark.parametrize("outputs", [[("nonsense", 1)], [(SHOP, -1)], [(SHOP, 10**17)]])
def test_what_cannot_be_paid_is_refused(outputs):
    with pytest.raises(chain.ChainError):
        chain.pay(outputs)

    assert not Transaction.objects.exists()


def test_a_replacement_takes_the_place_of_the_old_transaction():
    old = chain.pay([(SHOP, 1000), (OTHER, 7)])

    new = chain.replace(old.txid, value=900)

    assert new.txid != old.txid
    assert [(o.address, o.value) for o in new.outputs.all()] == [(SHOP, 900), (OTHER, 7)]
    assert new.rbf == 1
    assert read(old.txid).fate == "replaced"
    assert read(old.txid).replaced_by == new
    chain.mine(1)
    assert read(old.txid).block is None


def test_a_replacement_may_pay_somebody_else():
    old = chain.pay([(SHOP, 1000)], rbf=2)

    new = chain.replace(old.txid, address=OTHER)

    assert (new.value_to(SHOP), new.value_to(OTHER), new.rbf) == (0, 1000, 2)


def test_a_dropped_transaction_is_never_mined():
    payment = chain.pay([(SHOP, 1000)])
    chain.drop(payment.txid)

    chain.mine(2)

    assert not Transaction.objects.alive().exists()
    assert read(payment.txid).status == 0


@pytest.mark.parametrize("undo", [chain.replace, chain.drop])
def test_what_is_in_a_block_or_gone_stays_so(undo):
    mined, dropped = chain.pay([(SHOP, 1)]), chain.pay([(SHOP, 2)])
    chain.drop(dropped.txid)
    chain.mine()

    with pytest.raises(chain.ChainError, match="in a block"):
        undo(mined.txid)
    with pytest.raises(chain.ChainError, match="dropped already"):
        undo(dropped.txid)
    with pytest.raises(chain.UnknownTransaction):
        undo("0" * 64)


def test_a_reorg_puts_payments_back_into_the_mempool():
    deep, shallow = chain.pay([(SHOP, 1)]), None
    chain.mine()
    shallow = chain.pay([(SHOP, 2)])
    height = chain.mine()

    assert chain.reorg(1) == height - 1
    assert read(deep.txid).confirmations == 1
    assert read(shallow.txid).confirmations == 0
    chain.mine()
    assert read(shallow.txid).confirmations == 1


def test_only_blocks_that_exist_can_be_undone():
    chain.mine(2)

    with pytest.raises(chain.ChainError, match="only 2 blocks"):
        chain.reorg(3)


def test_a_block_comes_by_itself_only_when_the_newest_is_old_enough(time_machine):
    time_machine.move_to("2026-01-01T12:00Z", tick=False)
    start = chain.tip()
    chain.mine_when_due(60)
    chain.mine_when_due(60)
    assert chain.tip() == start + 1
    time_machine.shift(59)
    chain.mine_when_due(60)
    assert chain.tip() == start + 1
    time_machine.shift(1)
    chain.mine_when_due(60)
    assert chain.tip() == start + 2

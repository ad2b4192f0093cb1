"""Payments, blocks, and payments that go away again."""

import pytest
from embit import bip32, script
from embit.networks import NETWORKS

from sandbox import chain, conf, keys
from sandbox.models import Transaction
from tests.sandbox.test_keys import ZPUB

pytestmark = pytest.mark.django_db

SHOP, OTHER = (keys.address_at(conf.TEST_KEY, index) for index in (0, 1))


ON_MAINNET = keys.address_at(ZPUB, 0)


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
    payment = chain.pay([(SHOP, 1_000), (OTHER, 5_000), (SHOP, 2_000)])

    assert payment.value_to(SHOP) == 3_000
    assert [address for address in payment.addresses if address in (SHOP, OTHER)] == [SHOP, OTHER]


@pytest.mark.parametrize("outputs", [[("nonsense", 1)], [(SHOP, -1)], [(SHOP, 10**17)]])
def test_what_cannot_be_paid_is_refused(outputs):
    with pytest.raises(chain.ChainError):
        chain.pay(outputs)

    assert not Transaction.objects.exists()


# Coins, change and fees


def shape(value):
    """How many coins a payment of so much spends, and how many outputs it has."""
    payment = chain.pay([(SHOP, value)])
    return len(payment.inputs.all()), len(payment.outputs.all())


@pytest.mark.parametrize(
    ("value", "coins", "outputs"),
    [(1_000, 1, 2), (12_345, 2, 2), (25_000, 3, 2), (45_000, 1, 2), (9_600, 1, 1), (10**8, 2, 2)],
)
def test_a_payment_has_one_coin_or_several_and_change_at_times(value, coins, outputs):
    assert shape(value) == (coins, outputs)


@pytest.mark.parametrize("value", [294, 9_850, 12_345, 99_999, 10**8, 21 * 10**14])
def test_what_goes_in_comes_out_or_is_the_fee(value):
    payment = chain.pay([(SHOP, value), (OTHER, 5_000)])
    spent = sum(coin.value for coin in payment.inputs.all())
    left = sum(output.value for output in payment.outputs.all())

    assert spent == left + payment.fee
    assert payment.fee >= payment.size * 2
    assert (payment.value_to(SHOP), payment.total) == (value, value + 5_000)


def test_change_goes_to_a_new_address_at_any_place():
    payments = [chain.pay([(SHOP, 1_000)]) for _ in range(40)]
    change = [next(o for o in payment.outputs.all() if o.is_change) for payment in payments]

    assert len({output.address for output in change}) == 40
    assert {output.position for output in change} == {0, 1}


def test_an_address_of_mainnet_is_paid_from_mainnet():
    payment = chain.pay([(ON_MAINNET, 12_345)])

    everyone = [*payment.payers, *payment.addresses]
    assert len(everyone) == 4
    assert all(address.startswith("bc1q") for address in everyone)


@pytest.mark.parametrize(
    ("address", "beginning"),
    [
        ("mkpZhYtJu2r87Js3pDiWJDmPte2NRZ8bJV", "tb1q"),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", "bc1q"),
        (script.p2wpkh(bip32.HDKey.from_string(ZPUB).key).address(NETWORKS["regtest"]), "bcrt1q"),
        ("1TestBTCAddress123", "tb1q"),
    ],
)
def test_who_pays_has_addresses_of_the_same_network(address, beginning):
    assert chain.pay([(address, 1_000)]).payers[0].startswith(beginning)


def test_one_transaction_belongs_to_one_network():
    with pytest.raises(chain.ChainError, match="different networks"):
        chain.pay([(SHOP, 1_000), (ON_MAINNET, 1_000)])
    payment = chain.pay([(SHOP, 1_000)])

    with pytest.raises(chain.ChainError, match="different networks"):
        chain.replace(payment.txid, address=ON_MAINNET)

    assert read(payment.txid).is_alive


@pytest.mark.parametrize(
    ("address", "smallest"),
    [
        (SHOP, 294),
        ("1BoatSLRHtKNngkdXEeobR76b53LETtpyT", 546),
        ("37VucYSaXLCAsxYyAPfbSi9eh4iEcbShgf", 540),
        ("bc1p5d7rjq7g6rdk2yhzks9smlaqtedr4dekq08ge8ztwac72sfr9rusxg3297", 330),
    ],
)
def test_dust_is_refused_as_by_nodes(address, smallest):
    with pytest.raises(chain.ChainError, match=f"dust.*{smallest} or more"):
        chain.pay([(address, smallest - 1)])

    assert chain.pay([(address, smallest)]).total == smallest


def test_a_replacement_may_not_be_dust_either():
    payment = chain.pay([(SHOP, 1_000)])

    with pytest.raises(chain.ChainError, match="dust"):
        chain.replace(payment.txid, value=5)

    assert read(payment.txid).is_alive


def test_dust_can_be_let_through(change):
    change(dust_relay_fee=0)

    assert chain.pay([(SHOP, 0), (OTHER, 1)]).total == 1


# Replacements


@pytest.mark.parametrize("value", [None, 900, 5_000_000])
def test_a_replacement_spends_the_same_coins_for_a_higher_fee(value):
    old = chain.pay([(SHOP, 12_345)])

    new = chain.replace(old.txid, value=value)

    coins = [(coin.address, coin.value) for coin in old.inputs.all()]
    assert [(coin.address, coin.value) for coin in new.inputs.all()][: len(coins)] == coins
    assert new.fee >= old.fee + new.size


def test_what_is_taken_back_goes_to_the_customer_in_full():
    old = chain.pay([(ON_MAINNET, 1_000), (keys.address_at(ZPUB, 1), 7_000)])

    new = chain.take_back(old.txid)

    assert (new.value_to(ON_MAINNET), new.total) == (0, 8_000)
    assert [output.address for output in new.payments] == old.payers[:1]
    assert read(old.txid).replaced_by == new


def test_a_replacement_takes_the_place_of_the_old_transaction():
    old = chain.pay([(SHOP, 1000), (OTHER, 7_000)])

    new = chain.replace(old.txid, value=900)

    assert new.txid != old.txid
    assert [(o.address, o.value) for o in new.payments] == [(SHOP, 900), (OTHER, 7_000)]
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
    mined, dropped = chain.pay([(SHOP, 1_000)]), chain.pay([(SHOP, 2_000)])
    chain.drop(dropped.txid)
    chain.mine()

    with pytest.raises(chain.ChainError, match="in a block"):
        undo(mined.txid)
    with pytest.raises(chain.ChainError, match="dropped already"):
        undo(dropped.txid)
    with pytest.raises(chain.UnknownTransaction):
        undo("0" * 64)


def test_a_reorg_puts_payments_back_into_the_mempool():
    deep, shallow = chain.pay([(SHOP, 1_000)]), None
    chain.mine()
    shallow = chain.pay([(SHOP, 2_000)])
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

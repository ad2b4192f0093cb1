"""A payment that is sent anew with a higher fee is the same money: it counts once."""

import re
from datetime import timedelta
from decimal import Decimal

import pytest
from django.core.management import call_command
from django.utils import timezone
from django_tasks_db.models import DBTaskResult
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import shop
from payments import ingestion, providers
from payments.models import Invoice, Mail, PaymentAttempt
from payments.money import Asset
from payments.policy import Policy
from payments.settlement import Payment, Settlement, assess
from sandbox import chain
from sandbox.models import Transaction as OnChain
from tests.conftest import RATE, SECRET

HALF = 5_000
NOON = timezone.now().replace(hour=12, minute=0, second=0, microsecond=0)
POLICY = Policy(((Decimal(0), 2),), Decimal(0), Decimal(1_000_000), {"BTC": 546})


# As a rule


def paid(amount, seen=0, resent_after=None, confirmations=0, key=None):
    """A payment that was seen so many minutes after noon, in satoshis at 100,000 USD."""
    return Payment(
        way=1,
        asset=Asset("BTC", 8),
        amount=amount,
        rate=RATE,
        confirmations=confirmations,
        key=key,
        seen_at=NOON + timedelta(minutes=seen),
        may_be_resent_after=None
        if resent_after is None
        else NOON + timedelta(minutes=resent_after),
    )


def received(*payments):
    balance = assess(Decimal(10), payments, POLICY, NOON, NOON + timedelta(minutes=15))
    assert balance.received == Decimal(balance.tally(1).received) / 1_000
    return balance.tally(1).received


@pytest.mark.parametrize(
    ("payments", "sum_"),
    [
        # (satoshis, first seen, may be resent after)
        ([(5, 0, 0), (5, 1, None)], 5),
        ([(5, 0, 0), (4, 1, None)], 5),
        ([(4, 0, 0), (5, 1, None)], 5),
        ([(5, 0, None), (5, 1, None)], 10),
        ([(5, 0, 0)], 5),
        # bumped twice
        ([(5, 0, 0), (5, 1, 1), (5, 2, None)], 5),
        # one may be the other, the third is apart
        ([(5, 0, 0), (3, 1, None), (4, 2, None)], 8),
        # the network still had it when the other was there
        ([(5, 0, 2), (5, 1, None)], 10),
        ([(5, 0, 2), (5, 1, 1), (5, 3, None)], 5),
        ([(5, 0, None), (5, 1, 1)], 10),
    ],
)
def test_of_two_that_may_be_the_same_money_the_larger_counts(payments, sum_):
    made = [paid(amount * 1_000, *more) for amount, *more in payments]

    assert received(*made) == sum_ * 1_000


MADE = st.lists(
    st.tuples(st.integers(1, 9), st.integers(0, 5), st.none() | st.integers(0, 5)), max_size=6
)


@given(MADE)
def test_it_is_never_more_than_the_sum_and_never_less_than_the_largest(made):
    payments = [
        paid(amount * 1_000, seen, after if after is None else max(seen, after))
        for amount, seen, after in sorted(made, key=lambda row: row[1])
    ]

    amounts = [payment.amount for payment in payments]
    certain = sum(each.amount for each in payments if each.may_be_resent_after is None)
    assert max([certain, *amounts], default=0) <= received(*payments) <= sum(amounts)


def test_what_may_be_the_same_money_is_named():
    payments = [paid(5_000, 0, 0, key="old"), paid(5_000, 1, key="new")]

    balance = assess(Decimal(10), payments, POLICY, NOON, NOON + timedelta(minutes=15))

    assert balance.in_doubt == {"old"}
    assert balance.settlement == Settlement.UNDERPAID


def test_another_way_to_pay_is_other_money():
    other = Payment(2, Asset("USD", 2), 500, Decimal(1), 0, seen_at=NOON + timedelta(minutes=1))

    balance = assess(Decimal(10), [paid(5_000, 0, 0), other], POLICY, NOON, NOON)

    assert balance.received == 10


# As it goes


@pytest.fixture
def order(network):
    """10 USD, 10,000 satoshis."""
    return shop.open_invoices(1, email="buyer@example.com")[0]


@pytest.fixture
def tell(client):
    """The sandbox's transaction, told by callback as it stands."""

    def tell(txid, order, status=None):
        payment = OnChain.objects.get(txid=txid)
        query = {
            "secret": SECRET,
            "addr": order.attempt.reference,
            "txid": txid,
            "value": payment.value_to(order.attempt.reference),
            "status": payment.status if status is None else status,
            "rbf": 1 if payment.rbf and not payment.status else None,
        }
        query = {name: value for name, value in query.items() if value is not None}
        assert client.get("/payments/callback/blockonomics", query).status_code == 200
        return fresh(order)

    return tell


@pytest.fixture
def work():
    return lambda: call_command("worker", once=True)


def fresh(invoice):
    return Invoice.objects.with_payments().get(pk=invoice.pk)


def standing(invoice):
    invoice = fresh(invoice)
    return invoice.settlement, invoice.attempt.outstanding


@pytest.mark.parametrize("rbf", [0, 1])
def test_half_of_it_bumped_stays_half_of_it(network, order, tell, work, rbf):
    old = network.pay(order, value=HALF, rbf=rbf)
    tell(old, order)
    new = chain.replace(old).txid
    tell(new, order)
    if rbf:
        assert standing(order) == ("underpaid", HALF)  # not even before anybody was asked
    work()
    assert standing(order) == ("underpaid", HALF)

    chain.mine(1)
    tell(new, order)
    work()

    # Nothing waits an hour: the new one is in a block, and the network lacks the old one.
    assert fresh(order).attempt.transactions.get(transaction_id=old).dropped_at
    assert standing(order) == ("underpaid", HALF)
    chain.mine(1)
    tell(new, order)
    assert standing(order) == ("underpaid", HALF)


@pytest.mark.parametrize("rbf", [0, 1])
def test_two_halves_that_are_two_payments_add_up(network, order, tell, work, rbf):
    for _ in range(2):
        tell(network.pay(order, value=HALF, rbf=rbf), order)
    work()

    assert standing(order) == ("confirming", 0)
    chain.mine(2)
    for row in fresh(order).transactions:
        tell(row.transaction_id, order)
    assert fresh(order).settlement == "paid"


def test_all_of_it_bumped_is_covered_all_the_while(network, order, tell, work):
    old = network.pay(order, rbf=1)
    assert tell(old, order).settlement == "confirming"
    new = chain.replace(old).txid
    assert tell(new, order).settlement == "confirming"
    work()
    chain.mine(2)

    assert tell(new, order).settlement == "paid"
    work()
    assert fresh(order).balance.excess == 0
    alarming = [Mail.Kind.UNCOVERED, Mail.Kind.ALARM, Mail.Kind.VANISHED]
    assert not Mail.objects.filter(kind__in=alarming).exists()


def test_where_the_service_is_in_trouble_it_is_asked_again(network, order, tell, work):
    old = network.pay(order, value=HALF)
    tell(old, order)
    tell(chain.replace(old).txid, order)
    network.set(faults={"tx_detail": "500"})

    work()

    question = DBTaskResult.objects.get(task_path="payments.tasks.look_again", status="READY")
    assert question.run_after > timezone.now()
    assert standing(order) == ("confirming", 0)


def test_the_page_says_which_one_was_replaced(network, order, tell, work, client):
    old = network.pay(order, value=HALF, rbf=1)
    tell(old, order)
    new = chain.replace(old).txid
    tell(new, order)
    before = client.get(f"{order.get_absolute_url()}status/").json()["revision"]
    page = client.get(order.get_absolute_url()).content.decode()
    assert "May have been replaced by a newer payment" in page

    work()

    assert client.get(f"{order.get_absolute_url()}status/").json()["revision"] != before
    page = client.get(order.get_absolute_url()).content.decode()
    assert page.count("Replaced by a newer payment") == 1
    assert len(re.findall(r'class="amount void"', page)) == 1
    assert client.get(f"{order.get_absolute_url()}status/").json()["received"] == HALF


def test_an_old_callback_revives_nothing_and_the_network_is_asked(network, order, tell, work):
    old = network.pay(order)
    chain.mine(2)
    tell(old, order, status=0)
    row = fresh(order).transactions[0]
    row.dropped_at = timezone.now() - timedelta(hours=1)
    row.save()

    assert tell(old, order, status=2).settlement == "waiting"
    work()

    assert fresh(order).settlement == "paid"


def test_a_callback_processed_again_is_older_news_than_the_drop(order, tell, work, network):
    old = network.pay(order, value=HALF)
    chain.mine(1)
    tell(old, order)
    callback = order.callbacks.get()
    chain.reorg(1)
    chain.drop(old)
    row = fresh(order).transactions[0]
    row.dropped_at = timezone.now()
    row.save()
    ingestion.process_again(callback, providers.get("blockonomics"), by="merchant")
    work()

    assert fresh(order).transactions[0].dropped_at
    assert PaymentAttempt.objects.get(invoice=order).payments_in_question == []

"""ingestion.record_report: the one gate through which news of money comes into the books."""

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.core.cache import cache
from django.db import IntegrityError
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from payments import ingestion
from payments.models import Delivery, Invoice, Transaction
from payments.presentation import status_of
from payments.providers.base import TransactionReport
from tests.conftest import RATE, report, txid


@pytest.fixture
def hear(invoice, provider):
    """Records a report of the invoice's address; returns the invoice as it is afterwards."""

    def hear(amount=10_000, status=2, number=1, replaceable=False, reference=None, by="callback"):
        told = report(invoice, number, amount, status, replaceable, reference)
        ingestion.record_report(provider, told, by)
        return Invoice.objects.get(pk=invoice.pk)

    return hear


def test_a_confirmed_payment_pays_and_delivers(hear):
    invoice = hear()

    assert invoice.settlement == "paid"
    assert status_of(invoice) == 2
    assert invoice.paid_at is not None
    assert invoice.delivery.made_at == invoice.paid_at


def test_hearing_it_twice_changes_nothing(hear):
    once = hear()
    twice = hear()

    assert twice.paid_at == once.paid_at
    assert twice.updated_at == once.updated_at
    assert Transaction.objects.of(twice).count() == 1
    assert Delivery.objects.count() == 1


def test_a_late_status_never_undoes_a_better_one(hear):
    hear(status=2)

    invoice = hear(status=0)

    assert status_of(invoice) == 2
    assert invoice.settlement == "paid"
    assert Transaction.objects.of(invoice).get().is_final


def test_several_transactions_add_up(hear):
    assert hear(amount=4_000, number=1).settlement == "underpaid"
    assert hear(amount=5_999, number=2).settlement == "underpaid"

    assert hear(amount=1, number=3).settlement == "paid"


def test_a_replaceable_payment_is_kept_and_shown(hear):
    invoice = hear(status=0, replaceable=True)

    assert Transaction.objects.of(invoice).get().replaceable
    assert invoice.has_replaceable
    assert invoice.settlement == "confirming"


def test_a_confirmation_ends_the_doubt_about_a_replaceable_payment(hear):
    hear(status=0, replaceable=True)

    assert not hear(status=1).has_replaceable


def test_a_payment_after_paid_is_noted_and_pays_nothing_twice(hear):
    paid = hear(number=1)

    invoice = hear(number=2)

    assert invoice.paid_at == paid.paid_at
    assert invoice.attempt.tally.received == 20_000
    assert invoice.attempt.tally.excess == 10_000
    assert Delivery.objects.count() == 1


def test_one_transaction_pays_two_invoices(make_invoice, provider):
    invoices = [make_invoice(), make_invoice()]

    for invoice in invoices:
        ingestion.record_report(provider, report(invoice, 1, 10_000, 2))

    assert Invoice.objects.paid().count() == 2


def test_an_unknown_address_is_nobodys_money(hear):
    invoice = hear(reference="tb1qnobody")

    assert status_of(invoice) == -1
    assert not Transaction.objects.of(invoice).exists()


def test_a_reference_of_another_provider_never_counts(invoice, provider, monkeypatch):
    monkeypatch.setattr(type(provider), "slug", "elsewhere")

    outcome = ingestion.record_report(provider, report(invoice))

    assert outcome.result == "unknown"
    assert not Transaction.objects.exists()


def test_within_the_grace_a_payment_gets_the_quotes_rate(invoice, hear, service):
    service.answers["price"] = (200, '{"price": 1}')

    with time_machine.travel(invoice.expires_at + timedelta(seconds=59), tick=False):
        heard = hear()

    assert Transaction.objects.of(heard).get().rate == RATE
    assert not heard.has_late
    assert heard.settlement == "paid"


@pytest.mark.parametrize(
    ("market", "settlement"), [("99999.99", "underpaid"), ("100000", "paid"), ("250000", "paid")]
)
def test_a_late_payment_is_worth_what_the_market_says(
    invoice, hear, provider, monkeypatch, market, settlement
):
    monkeypatch.setattr(type(provider), "market_rate", lambda self, currency: Decimal(market))

    with time_machine.travel(invoice.expires_at + timedelta(seconds=61), tick=False):
        heard = hear()

    assert Transaction.objects.of(heard).get().rate == Decimal(market)
    assert heard.has_late
    assert heard.settlement == settlement


def test_a_late_payment_without_a_rate_is_kept_and_valued_by_the_next_report(
    invoice, hear, service
):
    cache.clear()

    with time_machine.travel(invoice.expires_at + timedelta(hours=1), tick=False):
        service.answers["price"] = (503, "")
        assert Transaction.objects.of(hear(status=1)).get().rate is None
        assert hear(status=1).settlement == "underpaid"
        service.answers.clear()

        assert Transaction.objects.of(hear(status=2)).get().rate == RATE
        assert hear(status=2).settlement == "paid"


def test_no_report_changes_the_rate_of_a_transaction(invoice, hear, provider, monkeypatch):
    hear(status=0)
    monkeypatch.setattr(type(provider), "market_rate", lambda self, currency: Decimal(1))

    with time_machine.travel(invoice.expires_at + timedelta(days=1), tick=False):
        heard = hear(status=2)

    assert Transaction.objects.of(heard).get().rate == RATE
    assert heard.settlement == "paid"


def test_the_deeper_in_the_chain_the_better_the_witness(hear):
    hear(amount=10_000, status=0)

    assert hear(amount=4_000, status=1).attempt.tally.received == 4_000
    assert hear(amount=10_000, status=0).attempt.tally.received == 4_000


def test_only_the_networks_own_word_brings_a_dropped_transaction_back(hear):
    payment = Transaction.objects.of(hear(status=0)).get()
    payment.dropped_at = timezone.now()
    payment.save()

    for status in (0, 1, 2):
        assert Transaction.objects.of(hear(status=status)).get().dropped_at
    assert not Transaction.objects.of(hear(status=2, by="verification")).get().dropped_at


def test_the_database_itself_refuses_a_second_delivery(hear):
    invoice = hear()

    with pytest.raises(IntegrityError):
        Delivery.objects.create(invoice=invoice, made_at=timezone.now())


def test_open_pages_are_told_after_the_commit(
    hear, monkeypatch, django_capture_on_commit_callbacks
):
    told = []
    monkeypatch.setattr("payments.live.announce", lambda invoice: told.append(invoice.key))

    with django_capture_on_commit_callbacks(execute=True):
        invoice = hear()
        assert told == []
        hear()

    assert told == [invoice.key]


reports = st.lists(
    st.tuples(st.integers(1, 3), st.integers(0, 2), st.booleans()), min_size=1, max_size=12
)


@given(reports, st.randoms())
def test_the_order_in_which_it_is_heard_makes_no_difference(heard, random):
    """Pure facts: the same reports in any order leave the same books."""
    from payments.models import Transaction

    def books_after(order):
        rows = {}
        for number, status, replaceable in order:
            told = TransactionReport("", txid(number), 3_400, status, status == 2, replaceable)
            row = rows.setdefault(
                number,
                Transaction(
                    amount=3_400,
                    confirmations=status,
                    is_final=status == 2,
                    replaceable=replaceable,
                    rate=RATE,
                ),
            )
            row.save = lambda: None
            row.update_from(told, RATE, at=None, by="callback")
        return {
            number: (row.confirmations, row.is_final, row.replaceable, row.amount)
            for number, row in rows.items()
        }

    shuffled = random.sample(heard, len(heard))

    assert books_after(shuffled) == books_after(heard)

"""Small changes to the rules of money that no other test would notice."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from payments import ingestion, quoting
from payments.models import Invoice, PaymentAttempt, Transaction
from tests.conftest import RATE, report

TXID = "ab" * 32
MOMENT = timedelta(microseconds=1)


def fresh(invoice):
    return Invoice.objects.with_payments().get(pk=invoice.pk)


@pytest.mark.parametrize("first", ["lower", "upper"])
def test_a_transaction_id_is_one_however_it_is_written(invoice, call_back, first):
    spellings = [TXID, TXID.upper()]
    for spelling in spellings if first == "lower" else reversed(spellings):
        call_back(invoice, txid=spelling, value=5_000)

    assert [row.transaction_id for row in fresh(invoice).transactions] == [TXID]
    assert fresh(invoice).balance.confirmed == 5


def test_what_came_while_the_price_was_asked_for_makes_the_new_quote_needless(
    invoice, provider, hear, monkeypatch
):
    PaymentAttempt.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    def a_payment_meanwhile(*args):
        hear(status=0)
        return RATE * 2

    monkeypatch.setattr(ingestion, "market_rate", a_payment_meanwhile)

    assert quoting.requote(fresh(invoice), provider) is False
    attempt = fresh(invoice).attempt
    assert (attempt.rate, attempt.earlier_quotes.count()) == (RATE, 0)


def test_the_grace_ends_to_the_moment(invoice, settings):
    attempt = invoice.attempt
    over = attempt.expires_at + settings.QUOTE_GRACE

    assert attempt.quoted_rate_at(over - MOMENT) == attempt.rate
    assert attempt.quoted_rate_at(over) is None


def test_a_quote_ends_to_the_moment(invoice):
    assert invoice.settlement_at(invoice.expires_at - MOMENT) == "waiting"
    assert invoice.settlement_at(invoice.expires_at) == "expired"


@pytest.mark.skipif(connection.vendor != "postgresql", reason="SQLite locks the whole database")
def test_whoever_changes_an_invoice_has_it_locked(invoice, provider):
    changes = [
        lambda: ingestion.record_report(provider, report(invoice, amount=1_000)),
        lambda: ingestion.reconcile_history(provider, invoice.attempt, [], by="reconcile"),
        lambda: quoting.requote(fresh(invoice), provider),
    ]
    for change in changes:
        with CaptureQueriesContext(connection) as asked:
            change()
        locks = [each["sql"] for each in asked if "FOR UPDATE" in each["sql"]]
        assert any("payments_invoice" in sql for sql in locks)


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_callback_never_overrides_an_amount_that_the_network_told(invoice, hear, status):
    hear(amount=4_000, status=0, by="watcher")

    hear(amount=9_999, status=status, by="callback")

    row = Transaction.objects.of(invoice).get()
    assert row.amount == 4_000
    assert "different amounts" in fresh(invoice).review


def test_a_deeper_look_of_the_network_does(invoice, hear):
    hear(amount=4_000, status=0, by="watcher")

    hear(amount=5_000, status=1, by="reconcile")

    assert Transaction.objects.of(invoice).get().amount == 5_000

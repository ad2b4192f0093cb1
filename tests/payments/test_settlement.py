"""What the facts amount to: a table of whole invoices. 10 USD are due, at 100,000 USD a bitcoin."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils import timezone

from payments import presentation
from tests.conftest import RATE, invoice_of

ALL, HALF, ONE = 10_000, 5_000, 1
DUST = 546  # no wallet sends less
MINUTE = timedelta(minutes=1)


def facts(*transactions, **fields):
    """An invoice with transactions (amount, status[, more]), nothing of it in the database."""
    rows = [(amount, status, more[0] if more else {}) for amount, status, *more in transactions]
    return invoice_of(rows, **fields)


TABLE = [
    # what was seen, minutes after the quote, what it amounts to, what is still to be paid
    ([], 0, "waiting", ALL),
    ([], 16, "expired", ALL),
    ([(ALL, 0)], 0, "confirming", 0),
    ([(ALL, 1)], 0, "confirming", 0),
    ([(ALL, 2)], 0, "paid", 0),
    ([(ALL, 2)], 16, "paid", 0),
    ([(ALL, 0)], 16, "confirming", 0),
    ([(ALL - ONE, 2)], 0, "underpaid", DUST),
    ([(ALL - ONE, 2), (ONE, 0)], 0, "confirming", 0),
    ([(ALL - ONE, 2), (ONE, 2)], 0, "paid", 0),
    ([(HALF, 2), (HALF, 1)], 0, "confirming", 0),
    ([(HALF, 0)], 0, "underpaid", HALF),
    ([(HALF, 0)], 16, "underpaid", HALF),
    ([(ALL + ONE, 2)], 0, "paid", 0),
    ([(ONE, 2)], 0, "underpaid", ALL - ONE),
    # a replaceable one is seen, yet it never counts as confirmed
    ([(ALL, 0, {"replaceable": True})], 0, "confirming", 0),
    ([(ALL, 2, {"replaceable": True})], 0, "paid", 0),
    # what the network forgot does not count
    ([(ALL, 0, {"dropped_at": "then"})], 0, "waiting", ALL),
    ([(ALL, 0, {"dropped_at": "then"}), (ALL, 2)], 0, "paid", 0),
    # late money is worth what the market said: here half, here double
    ([(ALL, 2, {"rate": RATE / 2})], 20, "underpaid", HALF),
    ([(HALF, 2, {"rate": RATE * 2})], 20, "paid", 0),
    # money whose worth is not known yet is seen, no more
    ([(ALL, 2, {"rate": None})], 20, "underpaid", 0),
]


@pytest.mark.parametrize(("transactions", "minutes", "settlement", "outstanding"), TABLE)
def test_the_settlement_is_drawn_from_the_facts(transactions, minutes, settlement, outstanding):
    invoice = facts(*transactions)

    assert invoice.settlement_at(invoice.attempt.quoted_at + minutes * MINUTE) == settlement
    assert invoice.attempt.outstanding == outstanding


def test_paid_is_final():
    invoice = facts((ALL, 0, {"dropped_at": "then"}), paid_at=timezone.now())

    assert invoice.settlement_at(timezone.now()) == "paid"


@pytest.mark.parametrize(
    ("policy", "replaceable", "settlement"),
    [
        ("0-: 0", False, "paid"),
        ("0-: 0", True, "confirming"),
        ("0-: 1", False, "confirming"),
        ("0-10: 0, 10-: 2", False, "confirming"),
        ("0-10.01: 0, 10.01-: 2", False, "paid"),
    ],
)
def test_the_policy_says_what_is_enough(settings, policy, replaceable, settlement):
    settings.CONFIRMATION_POLICY = policy

    invoice = facts((ALL, 0, {"replaceable": replaceable}))

    assert invoice.settlement_at(timezone.now()) == settlement


@pytest.mark.parametrize(("amount", "settlement"), [(9_500, "paid"), (9_499, "underpaid")])
def test_the_tolerance_is_a_share_of_the_total(settings, amount, settlement):
    settings.UNDERPAYMENT_TOLERANCE = Decimal(5)

    assert facts((amount, 2)).settlement_at(timezone.now()) == settlement


@pytest.mark.parametrize(
    ("transactions", "overpaid"),
    [
        ([(ALL, 2)], 0),
        ([(ALL + ONE, 2)], ONE),
        ([(ALL, 2), (HALF, 2)], HALF),
        ([(ALL, 2), (HALF, 0)], 0),  # not before it is confirmed
        ([(2 * ALL, 2, {"rate": RATE / 2})], 0),
        ([(ALL, 2), (ALL, 2, {"dropped_at": "then"})], 0),
    ],
)
def test_what_is_too_much_is_told_in_satoshis(transactions, overpaid):
    assert facts(*transactions).attempt.tally.excess == overpaid


def test_the_revision_changes_with_everything_that_the_page_shows():
    invoices = [facts(*transactions) for transactions, minutes, *_ in TABLE if minutes == 0]

    told = {presentation.revision(each, each.attempt.quoted_at) for each in invoices}

    shown = {
        (
            invoice.settlement_at(invoice.attempt.quoted_at),
            invoice.attempt.outstanding,
            tuple(payment.mark for payment in invoice.transactions),
        )
        for invoice in invoices
    }
    assert len(told) == len(shown)

"""POST /payments/invoice/<key>/quote/: a new quote, on the same address."""

from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.core.cache import cache
from django.test import Client

from payments.models import Invoice, Transaction
from tests.conftest import RATE

MINUTE = timedelta(minutes=1)


@pytest.fixture
def ask(client, invoice):
    def ask(minutes=0):
        with time_machine.travel(invoice.created_at + minutes * MINUTE, tick=False):
            response = client.post(f"/payments/invoice/{invoice.key}/quote/")
        return response, Invoice.objects.get(pk=invoice.pk)

    return ask


@pytest.fixture
def price(service):
    def price(amount):
        cache.clear()
        service.answers["price"] = (200, f'{{"price": {amount}}}')

    return price


def test_while_the_old_quote_stands_there_is_no_new_one(ask, invoice, price):
    price(50_000)

    response, after = ask(minutes=14)

    assert response["Location"] == invoice.get_absolute_url()
    assert (after.attempt.rate, after.attempt.due, after.attempt.expires_at) == (
        RATE,
        10_000,
        invoice.expires_at,
    )


def test_when_it_is_over_a_new_one_is_made_on_the_same_address(ask, invoice, price):
    price(50_000)

    response, after = ask(minutes=16)

    assert response["Location"] == invoice.get_absolute_url()
    assert after.attempt.reference == invoice.attempt.reference
    assert (after.attempt.rate, after.attempt.due) == (Decimal(50_000), 20_000)
    assert after.attempt.expires_at - after.attempt.quoted_at == 15 * MINUTE
    assert after.total == invoice.total


def test_what_is_missing_is_quoted_anew(ask, invoice, price, call_back):
    call_back(invoice, value=2_500)
    price(50_000)

    after = ask(minutes=5)[1]

    assert after.attempt.due == 15_000  # 7.50 of 10.00 USD, at 50,000 for one bitcoin
    assert after.attempt.outstanding == 15_000
    assert after.settlement_at(after.attempt.quoted_at) == "underpaid"


def test_both_payments_count_at_the_rate_they_were_promised(ask, invoice, price, call_back):
    call_back(invoice, value=2_500)
    price(50_000)
    after = ask(minutes=5)[1]

    with time_machine.travel(after.attempt.quoted_at + MINUTE, tick=False):
        call_back(after, number=2, value=15_000)
    call_back(after, number=1, value=2_500)

    paid = Invoice.objects.get()
    assert [payment.rate for payment in Transaction.objects.of(paid).all()] == [
        RATE,
        Decimal(50_000),
    ]
    assert paid.balance.confirmed == paid.total
    assert paid.settlement == "paid"


@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_covered_invoice_is_never_quoted_anew(ask, invoice, price, call_back, status):
    call_back(invoice, status=status)
    price(1)

    after = ask(minutes=60)[1]

    assert (after.attempt.rate, after.attempt.due) == (RATE, 10_000)


def test_a_get_never_makes_a_quote(client, invoice):
    with time_machine.travel(invoice.created_at + 16 * MINUTE, tick=False):
        assert client.get(f"/payments/invoice/{invoice.key}/quote/").status_code == 405

    assert Invoice.objects.get().attempt.due == invoice.attempt.due


def test_the_key_is_what_guards_a_quote_and_no_token(invoice):
    # As browsers send it from a page that names no referrer.
    strict = Client(enforce_csrf_checks=True, headers={"origin": "null"})

    assert strict.post(f"/payments/invoice/{invoice.key}/quote/").status_code == 302


def test_without_a_price_the_old_quote_stays_and_the_shopper_is_told(ask, invoice, service):
    cache.clear()
    service.answers["price"] = (503, "")

    response, after = ask(minutes=16)

    assert response.status_code == 503
    assert (after.attempt.rate, after.attempt.due, after.attempt.expires_at) == (
        RATE,
        10_000,
        invoice.expires_at,
    )


def test_whoever_has_paid_some_of_it_is_told_that_the_order_stands(
    ask, invoice, call_back, service
):
    call_back(invoice, value=2_500)
    cache.clear()
    service.answers["price"] = (503, "")

    page = ask(minutes=16)[0].content.decode()

    assert "Your order stands" in page
    assert "nothing was ordered" not in page
    assert f'href="{invoice.get_absolute_url()}"' in page


def test_a_new_quote_values_what_came_when_there_was_no_rate(ask, invoice, call_back, service):
    cache.clear()
    service.answers["price"] = (503, "")
    with time_machine.travel(invoice.expires_at + 2 * MINUTE, tick=False):
        call_back(invoice, value=2_500)
    service.answers.clear()

    after = ask(minutes=60)[1]

    assert Transaction.objects.of(after).get().rate == RATE
    assert after.attempt.due == 7_500


def test_while_a_person_looks_at_the_money_nobody_is_asked_for_more(ask, invoice, call_back, price):
    call_back(invoice, value=2_500)
    call_back(invoice, value=2_600)  # the same payment with another amount
    price(50_000)

    after = ask(minutes=16)[1]

    assert after.review
    assert (after.attempt.rate, after.attempt.expires_at) == (RATE, invoice.expires_at)

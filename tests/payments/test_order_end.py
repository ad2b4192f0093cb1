"""An order that is not paid ends after ORDER_DAYS: no promise stands for ever."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command

from payments import checkout, ingestion, notifications, refunds
from payments.models import Callback, Invoice, Line
from tests.conftest import address, report

pytestmark = pytest.mark.django_db


@pytest.fixture
def order(make_invoice, time_machine):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    return make_invoice()


@pytest.fixture
def days_later(time_machine):
    """So many days pass, with a worker at work or without."""

    def days_later(days, works=True):
        time_machine.shift(timedelta(days=days))
        if works:
            call_command("worker", once=True)

    return days_later


def fresh(invoice):
    return Invoice.objects.with_payments().get(pk=invoice.pk)


def page(client, invoice):
    return client.get(invoice.get_absolute_url()).content.decode()


def test_the_shopper_reads_from_the_beginning_until_when_it_can_be_paid(client, order):
    notifications.subscribe(order, "buyer@example.com")
    call_command("worker", once=True)

    assert "You can pay this order until March 8, 2026" in page(client, order)
    assert "until March 8, 2026" in mail.outbox[0].body


def test_within_its_days_a_new_quote_is_made_at_the_prices_of_its_day(client, order, days_later):
    days_later(6)

    client.post(f"{order.get_absolute_url()}quote/")

    assert fresh(order).attempt.earlier_quotes.count() == 1
    assert fresh(order).settlement == "waiting"


@pytest.mark.parametrize("works", [True, False])
@pytest.mark.parametrize("paid", [0, 9_999])
def test_after_them_there_is_no_new_quote(client, order, hear_of, days_later, works, paid):
    if paid:
        hear_of(order, amount=paid)
    days_later(7, works)

    client.post(f"{order.get_absolute_url()}quote/")

    assert fresh(order).attempt.earlier_quotes.count() == 0


@pytest.fixture
def hear_of(provider):
    def hear_of(invoice, number=1, **more):
        ingestion.record_report(provider, report(invoice, number, **more))
        return fresh(invoice)

    return hear_of


def test_the_page_says_that_it_has_ended(client, order, days_later):
    days_later(7)

    html = page(client, order)

    assert "This order has ended" in html
    assert "Nothing was charged" in html
    assert "Get a new price" not in html
    assert client.get(f"{order.get_absolute_url()}status/").json()["settlement"] == "cancelled"


@pytest.mark.parametrize("works", [True, False])
def test_money_that_comes_later_delivers_nothing_and_can_be_had_back(
    client, order, hear_of, days_later, works
):
    days_later(200, works)

    invoice = hear_of(order, amount=100_000)

    assert (invoice.settlement, invoice.cancelled_by) == ("cancelled", "time")
    assert invoice.attempt.refundable == 100_000
    assert "after the order was cancelled" in invoice.review
    html = page(client, order)
    assert "Get it back" in html
    assert "Nothing was charged" not in html
    client.post(f"{order.get_absolute_url()}refund/", {"address": address(7)})
    refunds.withdraw_request(order)
    assert fresh(order).settlement == "cancelled"


@pytest.mark.parametrize("works", [True, False])
def test_who_paid_a_part_takes_it_back_and_cannot_pay_the_rest(order, hear_of, days_later, works):
    hear_of(order, amount=9_999)
    days_later(200, works)

    invoice = hear_of(order, 2, amount=1_000)

    assert invoice.settlement == "cancelled"
    assert invoice.attempt.refundable == 10_999


def test_what_was_seen_in_time_is_waited_for(order, hear_of, days_later):
    hear_of(order, status=0)
    days_later(8)
    assert fresh(order).settlement == "confirming"

    assert hear_of(order).settlement == "paid"


def test_a_callback_that_came_in_time_counts_however_late_it_is_judged(
    order, call_back, monkeypatch, provider, days_later
):
    with monkeypatch.context() as trouble:
        trouble.setattr(ingestion, "_record", lambda *args: 1 / 0)
        assert call_back(order).status_code == 503
    days_later(8, works=False)

    ingestion.process_again(Callback.objects.get(), provider, by="merchant")

    assert fresh(order).settlement == "paid"


def test_money_of_unknown_worth_is_valued_before_anything_ends(
    order, hear_of, days_later, service, time_machine
):
    time_machine.shift(timedelta(days=1))
    service.answers["price"] = (500, "")
    cache.clear()
    hear_of(order)
    days_later(7)

    assert fresh(order).settlement == "underpaid"


def test_an_ended_order_is_not_shown_to_who_buys_the_same_again(order, days_later, provider):
    order.visitor = "v" * 32
    order.save()
    lines = [Line(order.lines.get().product)]
    assert checkout.reusable_for(order.visitor, lines) == order

    days_later(7, works=False)

    assert checkout.reusable_for(order.visitor, lines) is None


def test_the_setting_says_how_long(settings, order, days_later):
    settings.ORDER_LIFETIME = timedelta(days=30)
    days_later(29)
    assert fresh(order).settlement == "waiting"

    days_later(1)

    assert fresh(order).settlement == "cancelled"

"""My purchases: GET /purchases/, what was opened in this browser."""

import re
from datetime import timedelta

import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from payments import presentation, purchases
from payments.models import Invoice, PaymentAttempt
from payments.settlement import Settlement


def listed(client):
    page = client.get("/purchases/").content.decode()
    return re.findall(r'<a href="/payments/invoice/([^/]+)/">', page)


def test_what_was_opened_here_is_listed_the_newest_first(client, make_invoice):
    one, two, other = make_invoice(), make_invoice(), make_invoice()
    for invoice in (two, one, two):
        client.get(invoice.get_absolute_url())

    assert listed(client) == [two.key, one.key]
    assert other.key not in listed(client)


def test_who_has_the_cookie_of_a_buyers_forms_sees_no_purchase(client, product, service):
    client.post(f"/payments/create/{product.pk}/", follow=True)
    stranger = Client()
    stranger.cookies["csrftoken"] = client.cookies["csrftoken"].value
    stranger.post(f"/payments/create/{product.pk}/")

    assert stranger.cookies["visitor"].value == client.cookies["visitor"].value
    assert listed(stranger) == []


def test_a_bought_one_is_listed_as_buying_opens_it(client, product, service):
    client.post(f"/payments/create/{product.pk}/", follow=True)

    assert listed(client) == [Invoice.objects.get().key]


def test_another_browser_knows_nothing_of_it(client, invoice):
    client.get(invoice.get_absolute_url())

    assert listed(Client()) == []
    assert b"No order was opened in this browser yet" in Client().get("/purchases/").content


def test_an_order_is_told_by_code_goods_total_and_state(client, make_invoice, call_back):
    invoice = make_invoice(quantity=2)
    client.get(invoice.get_absolute_url())

    page = client.get("/purchases/").content.decode()
    assert f"Order {invoice.order}" in page
    assert "Mountain × 2" in page and "20.00\u00a0USD" in page
    assert f'datetime="{timezone.localtime(invoice.created_at):%Y-%m-%d}T' in page
    assert "Waiting for your payment" in page

    PaymentAttempt.objects.update(expires_at=timezone.now() - timedelta(seconds=1))
    assert "the price has run out" in client.get("/purchases/").content.decode()
    PaymentAttempt.objects.update(expires_at=invoice.expires_at)
    for told, sent in {
        "Something is still missing": {"value": 5, "number": 1},
        "Payment seen, being confirmed": {"value": 19_995, "number": 2, "status": 0},
        "<span>Paid</span>": {"value": 19_995, "number": 2},
    }.items():
        call_back(invoice, **sent)
        assert told in client.get("/purchases/").content.decode()


def test_every_settlement_has_words():
    assert set(Settlement) <= set(presentation.STATES)
    assert all(str(state.label) for state in presentation.STATES.values())


def test_the_way_there_is_shown_to_who_has_something_there(client, invoice):
    assert b'href="/purchases/"' not in client.get("/basket/").content

    client.get(invoice.get_absolute_url())

    assert b'href="/purchases/"' in client.get("/basket/").content


@pytest.mark.django_db(transaction=True)
def test_several_opened_at_once_are_all_remembered(make_invoice):
    """Three windows of one browser: each answer brings a cookie of its own."""
    invoices, browser = [make_invoice() for _ in range(3)], Client()
    for invoice in invoices:
        window = Client()
        window.get(invoice.get_absolute_url())
        browser.cookies.update(window.cookies)

    assert listed(browser) == [invoice.key for invoice in reversed(invoices)]


def test_opening_writes_nothing_into_the_database(client, invoice):
    for _ in range(2):
        with CaptureQueriesContext(connection) as asked:
            client.get(invoice.get_absolute_url())
        assert not [each for each in asked if not each["sql"].startswith("SELECT")]
    assert not Session.objects.exists()


def test_a_cookie_holds_no_key_and_cannot_be_made_up(client, invoice, make_invoice):
    client.get(invoice.get_absolute_url())
    other = make_invoice()
    mark = client.cookies[f"purchase-{invoice.pk}"].value

    assert invoice.key not in str(client.cookies)
    for number in (other.pk, f"0{invoice.pk}", "x", ""):
        client.cookies[f"purchase-{number}"] = mark
    assert listed(client) == [invoice.key]


def test_it_travels_to_the_list_of_purchases_alone(client, invoice):
    client.get(invoice.get_absolute_url())

    assert client.cookies[f"purchase-{invoice.pk}"]["path"] == "/purchases/"


def test_an_unknown_invoice_is_not_remembered(client, db):
    client.get(f"/payments/invoice/{'x' * 32}/")

    assert not client.cookies


def test_only_so_many_are_remembered(client, make_invoice, monkeypatch):
    monkeypatch.setattr(purchases, "MOST_REMEMBERED", 2)
    invoices = [make_invoice() for _ in range(3)]
    for invoice in invoices:
        client.get(invoice.get_absolute_url())

    assert listed(client) == [invoices[2].key, invoices[1].key]
    assert client.cookies[f"purchase-{invoices[0].pk}"].value == ""


@pytest.mark.parametrize("number", [1, 5])
def test_many_purchases_ask_no_more_than_one(
    client, make_invoice, call_back, django_assert_max_num_queries, number
):
    for count in range(number):
        invoice = make_invoice()
        call_back(invoice, number=count)
        client.get(invoice.get_absolute_url())

    with django_assert_max_num_queries(5):
        assert len(listed(client)) == number


def test_no_search_engine_and_no_cache_keeps_the_list(client, invoice):
    client.get(invoice.get_absolute_url())

    response = client.get("/purchases/")

    assert response["X-Robots-Tag"] == "noindex"
    assert "no-store" in response["Cache-Control"]
    assert b'<meta name="robots" content="noindex">' in response.content


def test_the_list_is_only_looked_at(client, db):
    assert client.post("/purchases/").status_code == 405

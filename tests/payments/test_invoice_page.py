"""The invoice page and its status door."""

import io
import json
import re
from datetime import timedelta
from urllib.parse import unquote

import pytest
import time_machine
from django.core.cache import cache
from django.utils import timezone

from payments.bitcoin.template_tags import payment_uri
from payments.models import Invoice, InvoiceLine, PaymentAttempt, Transaction
from tests.conftest import txid
from tests.payments.bitcoin.scanner import read_qr_code


@pytest.fixture
def page(client, invoice):
    def page(suffix=""):
        return client.get(f"/payments/invoice/{invoice.key}/{suffix}")

    return page


def test_a_waiting_page_says_what_to_do(page, invoice):
    html = page().content.decode()

    assert "Pay 10.00" in html
    assert "0.00010000" in html
    assert invoice.attempt.reference in html
    assert "100,000.00" in html
    assert f'href="{payment_uri(invoice.attempt).replace("&", "&amp;")}"' in html
    assert invoice.order in html


def test_the_qr_code_holds_the_address_in_capitals_and_the_amount(page, invoice):
    uri = read_qr_code(page().content.decode())

    assert uri == f"bitcoin:{invoice.attempt.reference.upper()}?amount=0.00010000"


def test_the_link_to_the_wallet_names_shop_and_order(page, invoice):
    link = re.search(r'href="(bitcoin:[^"]+)"', page().content.decode())[1]

    uri = unquote(link.replace("&amp;", "&"))
    assert uri.startswith(f"bitcoin:{invoice.attempt.reference}?amount=0.00010000&label=")
    assert uri.endswith(f"Himalaya Prints {invoice.order}")


def test_an_underpaid_page_asks_for_the_rest(page, invoice, call_back):
    call_back(invoice, value=2_500)

    html = page().content.decode()

    assert "Something is still missing" in html
    assert "0.00007500" in html
    assert read_qr_code(html) == f"bitcoin:{invoice.attempt.reference.upper()}?amount=0.00007500"


@pytest.mark.parametrize("is_over", [False, True])
@pytest.mark.parametrize("doubt", ["review", "stock"])
def test_nobody_is_asked_for_the_rest_before_a_person_has_looked(
    page, invoice, call_back, doubt, is_over
):
    call_back(invoice, value=2_500)
    if doubt == "review":
        Invoice.objects.update(review="something odd")
    else:
        invoice.lines.update(stock=InvoiceLine.Stock.BACKORDERED)
    if is_over:
        PaymentAttempt.objects.update(expires_at=timezone.now() - timedelta(seconds=1))

    html = page().content.decode()

    assert "Something is still missing" in html
    assert "Please send nothing for now" in html
    assert "You need not do anything" in html or "you need not do anything" in html
    assert "Please send the rest" not in html and "then send the rest" not in html
    assert 'class="code"' not in html
    assert "bitcoin:" not in html
    assert "Get a new price" not in html


def test_a_confirming_page_shows_the_steps_and_the_transaction(page, invoice, call_back):
    call_back(invoice, status=1)

    html = page().content.decode()

    assert re.findall(r'<li class="done">([^<]+)<', html) == ["Payment seen", "First confirmation"]
    assert txid(1) in html
    assert "<svg" not in html


def test_a_paid_page_hands_over_the_goods(page, invoice, call_back):
    call_back(invoice)

    html = page().content.decode()

    line = invoice.lines.get()
    assert "Paid. Thank you!" in html
    assert f'href="/payments/invoice/{invoice.key}/download/{line.pk}/"' in html
    assert f'href="/payments/invoice/{invoice.key}/receipt/"' in html
    assert "data-nudge-path" not in html  # nothing is waited for any more
    assert html.index("/download/") < html.index("/receipt/")


def test_before_it_is_paid_no_goods_are_offered(page, invoice, call_back):
    for status in (0, 1):
        call_back(invoice, status=status)

        assert "/download/" not in page().content.decode()


def test_an_expired_page_offers_a_new_price_and_nothing_to_pay(page, invoice):
    with time_machine.travel(invoice.expires_at, tick=False):
        html = page().content.decode()

    assert "Get a new price" in html
    assert "I have already paid" in html
    assert "<svg" not in html
    assert "bitcoin:" not in html


def test_replaceable_late_and_overpaid_are_told_in_plain_words(page, invoice, call_back):
    call_back(invoice, status=0, rbf=1)
    assert "marked as replaceable" in page().content.decode()

    with time_machine.travel(invoice.expires_at + timedelta(hours=1), tick=False):
        call_back(invoice, number=2)
        html = page().content.decode()
    assert "after the price had run out" in html

    call_back(invoice, number=1, status=2)
    assert "0.00010000 BTC more than was asked for" in page().content.decode()


def test_without_javascript_the_page_refreshes_itself_until_it_is_paid(page, invoice, call_back):
    refresh = '<noscript><meta http-equiv="refresh" content="60"></noscript>'
    assert refresh in page().content.decode()

    call_back(invoice, value=1)
    assert refresh in page().content.decode()
    call_back(invoice, number=2)

    assert refresh not in page().content.decode()


@pytest.mark.parametrize(
    ("model", "fact"), [(PaymentAttempt, "expires_at"), (Invoice, "cancelled_at")]
)
def test_a_page_on_which_nothing_goes_on_refreshes_nothing(page, model, fact):
    model.objects.update(**{fact: timezone.now() - timedelta(seconds=1)})

    assert "http-equiv" not in page().content.decode()


def test_the_page_knows_where_to_listen(page, invoice):
    html = page().content.decode()

    assert (
        f'data-socket-url="ws://127.0.0.1:8000/sandbox/payment/{invoice.attempt.reference}"' in html
    )
    assert f'data-nudge-path="/ws/invoices/{invoice.key}/"' in html
    assert f'data-status-url="/payments/invoice/{invoice.key}/status/"' in html


def test_page_and_status_door_tell_the_same_revision(page, invoice, call_back):
    for status in (None, 0, 1, 2):
        if status is not None:
            call_back(invoice, status=status)

        html, answer = page().content.decode(), page("status/").json()

        assert f'data-revision="{answer["revision"]}"' in html
        assert f'data-status="{answer["status"]}"' in html


def test_the_status_door_tells_the_facts(page, invoice, call_back):
    call_back(invoice, value=4_000, status=2)
    call_back(invoice, value=1_000, status=0, number=2)

    answer = page("status/").json()

    assert answer["status"] == 2
    assert answer["settlement"] == "underpaid"
    assert (answer["due"], answer["outstanding"]) == (10_000, 5_000)
    assert (answer["received"], answer["confirmed"]) == (5_000, 4_000)
    assert (answer["total"], answer["currency"], answer["rate"]) == ("10.00", "USD", "100000")
    assert answer["expires_at"] == invoice.expires_at.isoformat()
    assert answer["paid_at"] is None


def test_expiry_is_a_conclusion_and_no_job(page, invoice):
    with time_machine.travel(invoice.expires_at, tick=False):
        assert page("status/").json()["settlement"] == "expired"

    assert Invoice.objects.get().settlement == "waiting"


@pytest.mark.parametrize("suffix", ["", "status/"])
def test_the_page_is_never_cached_and_never_writes(page, suffix, django_assert_max_num_queries):
    page()  # which this browser remembers
    with django_assert_max_num_queries(8) as queries:
        response = page(suffix)

    assert "no-store" in response["Cache-Control"]
    assert all(query["sql"].startswith("SELECT") for query in queries)


def test_the_pages_queries_do_not_grow_with_its_transactions(
    page, invoice, call_back, django_assert_num_queries
):
    call_back(invoice, value=1)
    page()
    with django_assert_num_queries(5):
        page()
    for number in range(2, 12):
        call_back(invoice, value=1, number=number)

    with django_assert_num_queries(5):
        page()


@pytest.mark.parametrize("suffix", ["", "status/", "receipt/", "download/1/", "quote/"])
@pytest.mark.parametrize("key", ["its own", "x" * 32])
def test_no_other_site_and_no_search_engine_learns_the_key(client, invoice, suffix, key):
    key = invoice.key if key == "its own" else key
    response = client.get(f"/payments/invoice/{key}/{suffix}")

    assert response["Referrer-Policy"] == "no-referrer"
    assert response["X-Robots-Tag"] == "noindex"


def test_the_page_says_the_same_to_who_has_saved_it(page):
    html = page().content.decode()

    assert '<meta name="robots" content="noindex">' in html
    assert '<meta name="referrer" content="no-referrer">' in html


def test_the_demo_wallet_is_offered_in_the_demo_only(page, settings):
    assert "/sandbox/?uri=bitcoin%3A" in page().content.decode()

    settings.SANDBOX_WALLET_URL = ""

    assert "demo wallet" not in page().content.decode()


@pytest.mark.parametrize("suffix", ["", "status/", "receipt/"])
def test_the_page_is_only_read(client, invoice, suffix):
    assert client.post(f"/payments/invoice/{invoice.key}/{suffix}").status_code == 405


def test_the_receipt_is_there_once_it_is_paid(page, invoice, call_back):
    assert page("receipt/").status_code == 404

    call_back(invoice, value=12_345)
    html = page("receipt/").content.decode()

    assert invoice.order in html
    assert "0.00012345 BTC" in html
    assert "12.35" in html  # worth 12.345 USD
    assert txid(1) in html
    assert invoice.attempt.reference in html


def test_status_answers_are_json(page):
    response = page("status/")

    assert response["Content-Type"] == "application/json"
    assert json.load(io.BytesIO(response.content))


def test_while_the_worth_of_a_payment_is_not_known_nothing_is_asked_for(
    page, invoice, call_back, service
):
    cache.clear()
    service.answers["price"] = (503, "")
    with time_machine.travel(invoice.expires_at + timedelta(hours=1), tick=False):
        call_back(invoice)
        html = page().content.decode()
        status = page("status/").json()

    assert "Please do not pay again" in html
    assert "<svg" not in html
    assert "bitcoin:" not in html
    assert "Get a new price" not in html
    assert (status["received"], status["outstanding"]) == (10_000, 0)


def test_an_amount_is_asked_for_only_while_its_price_stands(page, invoice, call_back):
    call_back(invoice, value=4_000)

    with time_machine.travel(invoice.expires_at, tick=False):
        html = page().content.decode()

    assert "Something is still missing" in html
    assert "6.00\u00a0USD are missing" in html
    assert "<svg" not in html
    assert "Get a new price" in html


def test_less_than_a_wallet_sends_is_never_asked_for(page, invoice, call_back):
    call_back(invoice, value=9_999)

    assert "0.00000546" in page().content.decode()


def test_what_is_not_worth_sending_back_is_not_worth_a_word(page, invoice, call_back):
    call_back(invoice, value=10_545)
    assert "more than was asked for" not in page().content.decode()

    call_back(invoice, number=2, value=1)
    assert "0.00000546 BTC more than was asked for" in page().content.decode()


def test_the_receipt_lists_what_was_confirmed_and_nothing_else(page, invoice, call_back):
    call_back(invoice, number=1, status=0, rbf=1)
    call_back(invoice, number=2, status=2)

    html = page("receipt/").content.decode()

    assert txid(2) in html
    assert txid(1) not in html
    assert "marked as replaceable" not in page().content.decode()


@pytest.mark.parametrize(("policy", "steps"), [("0-: 0", 2), ("0-: 1", 2), ("0-: 2", 3)])
def test_the_steps_are_those_of_the_policy(page, invoice, call_back, settings, policy, steps):
    settings.CONFIRMATION_POLICY = policy
    call_back(invoice, status=0, rbf=1)

    html = page().content.decode()

    listed = re.search(r'<ol class="steps".*?</ol>', html, re.DOTALL)[0]
    assert listed.count("<li") == steps
    assert ("one block confirms" in html) is (policy != "0-: 2")


@pytest.mark.parametrize("path", ["/", "/basket/", "/healthz"])
def test_monitors_may_knock_with_head(client, db, path):
    assert client.head(path).status_code == 200


# Every state in its own words


def titled(html):
    return re.search(r"<title>([^<]*)</title>", html)[1].split(" · ")[0]


def icon(html):
    return re.search(r'<link rel="icon" href="/static/img/([a-z]+)', html)[1]


def test_title_and_icon_tell_the_state_in_a_tab_behind_others(page, invoice, call_back):
    told = []
    for status in (None, 0, 1, 2):
        if status is not None:
            call_back(invoice, status=status)
        html = page().content.decode()
        told.append((titled(html), icon(html)))

    assert told == [
        ("Waiting for your payment", "waiting"),
        ("Payment seen", "moving"),
        ("Being confirmed", "moving"),
        ("Paid", "paid"),
    ]


def test_title_and_icon_ask_for_attention_where_something_is_to_be_done(page, invoice, call_back):
    with time_machine.travel(invoice.expires_at, tick=False):
        expired = page().content.decode()
    call_back(invoice, value=1_000)
    underpaid = page().content.decode()

    assert (titled(expired), icon(expired)) == ("The price has run out", "attention")
    assert (titled(underpaid), icon(underpaid)) == ("Something is missing", "attention")


def test_a_payment_that_the_network_forgot_is_told_of(page, invoice, call_back):
    call_back(invoice, status=0)
    payment = Transaction.objects.of(invoice).get()
    payment.dropped_at = payment.first_seen
    payment.save()

    html = page().content.decode()

    assert "gone from the network: it was replaced" in html
    assert "Gone from the network" in html
    assert read_qr_code(html).endswith("amount=0.00010000")


def test_a_person_looks_at_it(page, invoice):
    Invoice.objects.update(review="a reason that only the merchant reads")

    html = page().content.decode()

    assert "A person in the shop is looking at this payment" in html
    assert "only the merchant" not in html


def test_larger_sums_are_asked_about_once_more(page, invoice, call_back, settings):
    settings.VERIFY_FROM = 1
    call_back(invoice)

    assert "we ask the network once more" in page().content.decode()


def test_what_was_sold_out_is_told_honestly(page, invoice, monkeypatch):
    assert "sold out" not in page().content.decode()

    monkeypatch.setattr(Invoice, "lacks_stock", True, raising=False)

    assert "was sold out when your payment came in" in page().content.decode()


def test_after_a_new_price_the_page_asks_again(client, page, invoice):
    with time_machine.travel(invoice.expires_at, tick=False):
        client.post(f"/payments/invoice/{invoice.key}/quote/")
        html = page().content.decode()

    assert titled(html) == "Waiting for your payment"
    assert read_qr_code(html).startswith(f"bitcoin:{invoice.attempt.reference.upper()}?amount=")

"""Buying: POST /payments/create/<pk>/ and POST /payments/create/"""

import re
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.utils import translation

from payments import checkout, notifications, presentation, providers
from payments.models import Invoice, Line, Mail
from tests.conftest import RATE, address


@pytest.fixture
def buy(client, service):
    def buy(product, client=client):
        return client.post(f"/payments/create/{product.pk}/")

    return buy


def calls(service, path):
    return [call for call in service.calls if path in call.request.url]


def test_a_purchase_leads_to_an_invoice(buy, product):
    response = buy(product)

    invoice = Invoice.objects.get()
    assert (response.status_code, response["Location"]) == (302, invoice.get_absolute_url())
    assert (invoice.attempt.reference, invoice.attempt.asset_code) == (address(0), "BTC")
    assert (invoice.total, invoice.currency, invoice.attempt.rate) == (product.price, "USD", RATE)
    assert (invoice.attempt.due, presentation.status_of(invoice), invoice.settlement) == (
        10_000,
        -1,
        "waiting",
    )
    assert (invoice.expires_at - invoice.attempt.quoted_at).total_seconds() == 15 * 60
    assert len(invoice.key) == 32


def test_the_line_keeps_the_title_and_price_of_the_day(buy, product):
    buy(product)
    product.title, product.price = "Renamed", 99
    product.save()

    line = Invoice.objects.get().lines.get()

    assert (line.title, line.unit_price, line.quantity) == ("Mountain", 10, 1)


def test_blockonomics_is_asked_as_documented(buy, product, service):
    buy(product)

    new_address = calls(service, "/api/new_address")[0].request
    price = calls(service, "/api/price")[0].request
    assert new_address.method == "POST"
    assert new_address.headers["Authorization"] == "Bearer demo-api-key"
    assert new_address.params["match_callback"] == (
        "http://127.0.0.1:8000/payments/callback/blockonomics?secret=demo-callback-secret"
    )
    assert not new_address.body
    assert price.params == {"currency": "USD", "crypto": "BTC"}


@pytest.mark.django_db(transaction=True)
def test_address_and_price_are_asked_for_at_the_same_time(product, service):
    both_are_asked = threading.Barrier(2, timeout=10)
    served = dict(service.answers)

    def meet(call):
        def answer(request):
            both_are_asked.wait()
            return served[call]

        return answer

    served["new_address"] = (200, {}, f'{{"address": "{address(1)}"}}')
    served["price"] = (200, {}, '{"price": 100000}')
    service.reset()
    for method, call in (("POST", "new_address"), ("GET", "price")):
        service.add_callback(method, f"http://127.0.0.1:8000/sandbox/api/{call}", meet(call))

    checkout.place_order([Line(product)], providers.get("blockonomics"))

    assert Invoice.objects.get().attempt.due == 10_000


def test_a_fresh_price_from_the_cache_saves_the_call(buy, make_product, service):
    buy(make_product("One"))
    buy(make_product("Two"))

    assert len(calls(service, "/api/new_address")) == 2
    assert len(calls(service, "/api/price")) == 1


def test_an_old_price_is_asked_for_again(buy, make_product, service):
    buy(make_product("One"))
    cache.clear()
    buy(make_product("Two"))

    assert len(calls(service, "/api/price")) == 2


def test_the_same_visitor_gets_the_same_unpaid_invoice_again(buy, product, service):
    first = buy(product)
    second = buy(product)

    assert first["Location"] == second["Location"]
    assert len(calls(service, "/api/new_address")) == 1


def test_another_visitor_gets_an_invoice_of_their_own(buy, product):
    assert buy(product)["Location"] != buy(product, client=Client())["Location"]


def test_another_product_gets_an_invoice_of_its_own(buy, make_product):
    assert buy(make_product("One"))["Location"] != buy(make_product("Two"))["Location"]


def test_at_another_price_it_is_another_invoice(buy, product):
    first = buy(product)["Location"]
    product.price += 1
    product.save()

    assert buy(product)["Location"] != first


@pytest.mark.parametrize(("status", "again"), [(0, False), (2, False)])
def test_a_purchase_that_is_paid_for_is_over(buy, product, call_back, status, again):
    first = buy(product)["Location"]
    call_back(Invoice.objects.get(), status=status)

    assert (buy(product)["Location"] == first) is again


def test_an_underpaid_invoice_is_shown_again(buy, product, call_back):
    first = buy(product)["Location"]
    call_back(Invoice.objects.get(), value=1)

    assert buy(product)["Location"] == first


def test_who_knows_a_shoppers_cookie_is_not_led_to_their_order(client, product, service):
    first = client.post(f"/payments/create/{product.pk}/")
    stranger = Client()
    stranger.cookies["csrftoken"] = client.cookies["csrftoken"].value
    cache.clear()  # a moment later

    second = stranger.post(f"/payments/create/{product.pk}/")

    assert second["Location"] != first["Location"]


@pytest.mark.django_db(transaction=True)
def test_a_double_click_of_a_first_time_visitor_makes_one_invoice(product, service):
    browser = Client(enforce_csrf_checks=True)
    page = browser.get(product.get_absolute_url()).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]

    def click(_):
        client = Client(enforce_csrf_checks=True)
        client.cookies["csrftoken"] = browser.cookies["csrftoken"].value
        form = {"csrfmiddlewaretoken": token}
        try:
            return client.post(f"/payments/create/{product.pk}/", form)["Location"]
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as clicks:
        locations = set(clicks.map(click, range(4)))

    assert len(locations) == 1
    assert Invoice.objects.count() == 1


def test_the_basket_becomes_one_invoice_with_several_lines(
    client, make_product, service, call_back
):
    one, two = make_product("One", "1.50"), make_product("Two", "2.25")
    client.post(f"/basket/{one.pk}/", {"quantity": 2})
    client.post(f"/basket/{two.pk}/")

    response = client.post("/payments/create/")

    invoice = Invoice.objects.get()
    assert response["Location"] == invoice.get_absolute_url()
    assert str(invoice.total.normalize()) == "5.25"
    assert [(line.title, line.quantity) for line in invoice.lines.all()] == [("One", 2), ("Two", 1)]
    assert b"Nothing in it yet" not in client.get("/basket/").content
    call_back(invoice, status=0)
    client.get(invoice.get_absolute_url())
    assert b"Nothing in it yet" in client.get("/basket/").content


def test_an_empty_basket_buys_nothing(client, service, db):
    assert client.post("/payments/create/")["Location"] == "/basket/"
    assert not service.calls


def test_what_is_off_sale_cannot_be_bought(buy, make_product):
    assert buy(make_product(active=False)).status_code == 404


def test_an_address_is_never_given_for_a_get(client, product, service):
    assert client.get(f"/payments/create/{product.pk}/").status_code == 405
    assert client.head(f"/payments/create/{product.pk}/").status_code == 405
    assert not service.calls


def test_a_purchase_needs_a_csrf_token(product, service):
    strict = Client(enforce_csrf_checks=True)

    assert strict.post(f"/payments/create/{product.pk}/").status_code == 403
    assert not service.calls


REFUSED, UNAVAILABLE = 502, 503
LEGACY = '{{"status": 500, "message": "{}"}}'
NESTED = '{{"error": {{"message": "{}", "code": {}}}}}'

TROUBLE = [
    # call, its answer, our status, what the shopper reads, what the merchant finds in the log
    ("new_address", requests.Timeout(), UNAVAILABLE, "does not answer", "Timeout"),
    ("new_address", requests.ConnectionError(), UNAVAILABLE, "does not answer", "ConnectionError"),
    ("new_address", (500, "<h1>Error</h1>"), UNAVAILABLE, "trouble of its own", "answered 500"),
    ("new_address", (503, ""), UNAVAILABLE, "trouble of its own", "answered 503"),
    ("new_address", (429, ""), UNAVAILABLE, "trouble of its own", "answered 429"),
    ("new_address", (301, ""), UNAVAILABLE, "trouble of its own", "answered 301"),
    ("new_address", (200, "<html>"), UNAVAILABLE, "could not understand", "nonsense"),
    ("new_address", (200, "[1]"), UNAVAILABLE, "could not understand", "nonsense"),
    ("new_address", (200, "[" * 60_000), UNAVAILABLE, "could not understand", "nonsense"),
    ("new_address", (200, "x" * 100_000), UNAVAILABLE, "does not answer", "did not answer"),
    (
        *("new_address", (401, '{"message": "This function requires you to login"}')),
        *(REFUSED, "account with the bitcoin payment service", "BLOCKONOMICS_API_KEY"),
    ),
    ("new_address", (403, "{}"), REFUSED, "account with", "BLOCKONOMICS_API_KEY"),
    (
        *("new_address", (500, LEGACY.format("Gap limit exceeded"))),
        *(REFUSED, "Too many open orders", "gap limit"),
    ),
    (
        *("new_address", (400, NESTED.format("Too many addresses with no payments", 1008))),
        *(REFUSED, "Too many open orders", "gap limit"),
    ),
    (
        *("new_address", (400, NESTED.format("Specify store", 1032))),
        *(REFUSED, "not set up completely", "several stores"),
    ),
    (
        *("new_address", (500, LEGACY.format("Could not find matching xpub"))),
        *(REFUSED, "not set up completely", "No store has this shop's callback URL"),
    ),
    (
        *("new_address", (500, LEGACY.format("This require you to add an xpub"))),
        *(REFUSED, "not set up completely", "Add a wallet"),
    ),
    ("new_address", (422, '{"error": "crypto"}'), REFUSED, "refused", "answered 422: crypto"),
    ("new_address", (200, '{"address": ""}'), UNAVAILABLE, "no address", "without an address"),
    ("new_address", (200, '{"address": null}'), UNAVAILABLE, "no address", "without an address"),
    ("new_address", (200, "{}"), UNAVAILABLE, "no address", "without an address"),
    (
        *("new_address", (200, '{"address": "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"}')),
        *(REFUSED, "do not trust", "BITCOIN_NETWORK"),  # of the main network
    ),
    (
        *("new_address", (200, f'{{"address": "{address(0)[:-1]}q"}}')),
        *(REFUSED, "do not trust", "no test bitcoin address"),  # a wrong checksum
    ),
    (
        *("new_address", (200, '{"address": "1TestBTCAddress7"}')),
        *(REFUSED, "do not trust", "test mode"),
    ),
    ("price", requests.Timeout(), UNAVAILABLE, "does not answer", "/api/price did not answer"),
    ("price", (500, ""), UNAVAILABLE, "trouble of its own", "/api/price answered 500"),
    ("price", (200, '{"price": null}'), REFUSED, "no bitcoin price in USD", "SHOP_CURRENCY"),
    ("price", (200, '{"price": 0}'), UNAVAILABLE, "no usable price", "'0'"),
    ("price", (200, '{"price": -5}'), UNAVAILABLE, "no usable price", "'-5'"),
    ("price", (200, '{"price": NaN}'), UNAVAILABLE, "no usable price", "'NaN'"),
    ("price", (200, '{"price": 1e400}'), UNAVAILABLE, "no usable price", "1E+400"),
    ("price", (200, '{"price": "a lot"}'), UNAVAILABLE, "no usable price", "a lot"),
    ("price", (200, '{"price": [1]}'), UNAVAILABLE, "no usable price", "[Decimal"),
    ("price", (200, '{"price": true}'), UNAVAILABLE, "no usable price", "True"),
    ("price", (200, "{}"), REFUSED, "no bitcoin price", "SHOP_CURRENCY"),
]


@pytest.mark.parametrize(("call", "answer", "status", "said", "logged"), TROUBLE)
def test_trouble_upstream_is_told_plainly_and_leaves_nothing_half_made(
    buy, product, service, caplog, call, answer, status, said, logged
):
    service.answers[call] = answer

    response = buy(product)

    assert response.status_code == status
    assert ("Retry-After" in response.headers) is (status == UNAVAILABLE)
    assert said in response.content.decode()
    assert "nothing was ordered" in response.content.decode()
    assert logged in caplog.text
    assert "demo-api-key" not in caplog.text
    assert not Invoice.objects.exists()
    service.answers.clear()
    assert buy(product).status_code == 302


def test_an_address_that_an_invoice_has_already_is_asked_for_again(buy, make_product, service):
    buy(make_product("One"))
    taken = Invoice.objects.get().attempt.reference
    answers = iter([taken, address(77)])
    service.reset()
    service.add_callback(
        "POST",
        "http://127.0.0.1:8000/sandbox/api/new_address",
        lambda request: (200, {}, f'{{"address": "{next(answers)}"}}'),
    )

    buy(make_product("Two"))

    assert {invoice.attempt.reference for invoice in Invoice.objects.all()} == {taken, address(77)}


def test_nobody_is_shown_the_address_of_another_invoice(buy, make_product, service, caplog):
    buy(make_product("One"))
    taken = Invoice.objects.get().attempt.reference
    service.answers["new_address"] = (200, f'{{"address": "{taken}"}}')

    response = buy(make_product("Two"))

    assert response.status_code == 502
    assert "already in use" in response.content.decode()
    assert "already belongs to another invoice" in caplog.text
    assert taken not in response.content.decode()
    assert Invoice.objects.count() == 1


def test_a_test_mode_address_is_taken_where_test_mode_is_allowed(buy, product, service, settings):
    settings.BLOCKONOMICS_TEST_MODE = True
    service.answers["new_address"] = (200, '{"address": "1TestBTCAddress7"}')

    assert buy(product).status_code == 302
    assert Invoice.objects.get().attempt.reference == "1TestBTCAddress7"


@pytest.mark.parametrize(
    ("network", "given"),
    [
        ("main", "bc1qcr8te4kr609gcawutmrza0j4xv80jy8z306fyu"),
        ("main", "bc1p5cyxnuxmeuwuvkwfem96lqzszd02n6xdcjrs20cac6yqjjwudpxqkedrcr"),
        ("main", "3P14159f73E4gFr7JterCCQh9QjiTjiZrG"),
        ("main", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"),
        ("regtest", "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"),
    ],
)
def test_every_kind_of_address_of_the_network_is_taken(
    buy, product, service, settings, network, given
):
    settings.BITCOIN_NETWORK = network
    service.answers["new_address"] = (200, f'{{"address": "{given}"}}')

    assert buy(product).status_code == 302
    assert Invoice.objects.get().attempt.reference == given


@pytest.mark.parametrize("fault", [(200, '{"price": null}'), (500, ""), requests.Timeout()])
def test_an_address_that_nobody_was_shown_goes_to_the_next_purchase(buy, product, service, fault):
    service.answers["price"] = fault
    buy(product)
    service.answers.clear()

    buy(product)

    assert Invoice.objects.get().attempt.reference == address(0)
    assert len(calls(service, "/api/new_address")) == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_waits_for_the_service_holds_no_database_connection(product, service):
    held = []

    def new_address(request):
        held.append(connection.connection)
        return 200, {}, f'{{"address": "{address(1)}"}}'

    service.reset()
    service.add("GET", "http://127.0.0.1:8000/sandbox/api/price", json={"price": 100_000})
    service.add_callback("POST", "http://127.0.0.1:8000/sandbox/api/new_address", new_address)

    Client().post(f"/payments/create/{product.pk}/")

    assert held == [None]


# The shopper's address and language


def test_an_address_gets_the_link_at_once(client, product, service):
    client.post(f"/payments/create/{product.pk}/", {"email": "buyer@example.com"})

    invoice = Invoice.objects.get()
    assert invoice.email == "buyer@example.com"
    mail = invoice.mails.get()
    assert (mail.kind, mail.to) == ("created", "buyer@example.com")
    assert invoice.get_absolute_url() in notifications.message(mail).body


def test_nobody_has_to_give_an_address(client, product, service):
    for form in ({}, {"email": ""}, {"email": "  "}):
        client.post(f"/payments/create/{product.pk}/", form)

    invoice = Invoice.objects.get()
    assert invoice.email == ""
    assert not invoice.mails.exists()


def test_one_field_is_on_the_page_of_the_product_and_of_the_basket(client, product):
    client.post(f"/basket/{product.pk}/")

    for path in (product.get_absolute_url(), "/basket/"):
        page = client.get(path).content.decode()
        assert page.count('name="email"') == 1
        assert page.count('<label for="email">') == 1
        assert "required" not in re.search(r'<input id="email"[^>]*>', page)[0]


@pytest.mark.parametrize("way", ["product", "basket"])
@pytest.mark.parametrize("typed", ["nobody", "a@example.com\nBcc: b@example.com", "a@b@c.com"])
def test_a_wrong_address_keeps_the_shopper_where_they_are(client, product, service, way, typed):
    client.post(f"/basket/{product.pk}/")
    page, door = product.get_absolute_url(), f"/payments/create/{product.pk}/"
    if way == "basket":
        page, door = "/basket/", "/payments/create/"

    response = client.post(door, {"email": typed}, follow=True)

    assert response.redirect_chain == [(f"{page}?email=invalid", 302)]
    assert b'id="email-error"' in response.content
    assert typed.partition("\n")[0].encode() in response.content
    assert not service.calls
    assert not Invoice.objects.exists()
    assert client.post(door, {"email": "a@example.com"}).status_code == 302
    assert b"email-error" not in client.get(page).content


def test_the_invoice_that_stands_takes_the_address_it_lacks(buy, client, product, service):
    buy(product)

    client.post(f"/payments/create/{product.pk}/", {"email": "buyer@example.com"})
    client.post(f"/payments/create/{product.pk}/", {"email": "other@example.com"})

    invoice = Invoice.objects.get()
    assert invoice.email == "buyer@example.com"
    assert [mail.kind for mail in invoice.mails.all()] == ["created"]


def test_no_mail_is_made_where_no_invoice_is(client, product, service):
    service.answers["new_address"] = (500, "")

    client.post(f"/payments/create/{product.pk}/", {"email": "buyer@example.com"})

    assert not Mail.objects.exists()


def test_the_invoice_keeps_the_language_of_the_shopper(client, product, service):
    with translation.override("es"):
        language = translation.get_language()
        response = client.post(f"/payments/create/{product.pk}/", headers={"accept-language": "es"})

    assert response.status_code == 302
    assert Invoice.objects.get().language == language

"""Things go wrong in the shop's own words, and strangers learn nothing from it."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import InterfaceError, OperationalError, connections
from django.test import Client, RequestFactory
from django.utils import timezone
from django.views.defaults import server_error

from catalogue.models import ProductQuerySet
from payments import ingestion
from payments.models import Callback
from shop.middleware import PlainErrors

DOORS = {
    "page": ("GET", "/payments/invoice/{key}/"),
    "status": ("GET", "/payments/invoice/{key}/status/"),
    "quote": ("POST", "/payments/invoice/{key}/quote/"),
    "receipt": ("GET", "/payments/invoice/{key}/receipt/"),
    "refund": ("GET", "/payments/invoice/{key}/refund/"),
    "refund claim": ("POST", "/payments/invoice/{key}/refund/"),
    "download": ("GET", "/payments/invoice/{key}/download/{line}/"),
}
KEY = "x" * 32
# As long as a real one, too short, too long, close to a path, with bytes that no key has.
KEYS = [KEY, "y" * 32, "-", "a", "z" * 2_000, "..", "%2e%2e", "ä", "%ff", "' OR 1=1 --", "%20"]


@pytest.fixture
def knock(client):
    """What a door answers, without the time of day."""

    def knock(door, key, line=1):
        method, path = DOORS[door]
        response = client.generic(method, path.format(key=key, line=line))
        headers = {name: value for name, value in response.items() if name != "Date"}
        return response.status_code, headers, response.content

    return knock


@pytest.fixture
def database_away(db):
    """From the first question on, the database does not answer."""

    def away(*args, **kwargs):
        raise OperationalError("could not connect to server: Connection refused")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(connections["default"]), "cursor", away)
        yield


# Unknown keys


@pytest.mark.parametrize("debug", [False, True])
@pytest.mark.parametrize("door", DOORS)
def test_all_unknown_keys_hear_the_same(knock, db, settings, door, debug):
    settings.DEBUG = debug
    status, headers, content = knock(door, "x" * 32)

    answers = [knock(door, key) for key in KEYS]

    assert status == 404
    assert b"There is nothing here" in content
    assert answers == [(status, headers, content)] * len(KEYS)


@pytest.mark.parametrize("door", DOORS)
def test_a_key_with_a_null_byte_is_an_unknown_key(knock, db, door):
    assert knock(door, "%00") == knock(door, "x" * 32)


def test_all_doors_answer_an_unknown_key_in_the_same_bytes_with_debug_on_and_off(
    knock, db, settings
):
    answers = []
    for settings.DEBUG in (False, True):
        answers += [knock(door, "x" * 32) for door in DOORS]

    assert answers == answers[:1] * 2 * len(DOORS)


@pytest.mark.parametrize("door", ["receipt", "download"])
def test_what_is_not_paid_is_as_unknown_as_a_wrong_key(knock, invoice, door):
    line = invoice.lines.get().pk

    assert knock(door, invoice.key, line) == knock(door, "x" * 32, line)


@pytest.mark.parametrize("line", [0, 4_711, 9**18, 9**30])
def test_an_unknown_line_is_as_unknown_as_a_wrong_key(knock, invoice, call_back, line):
    call_back(invoice)

    assert knock("download", invoice.key, line) == knock("download", "x" * 32, line)


def test_a_key_is_not_guessed_by_its_beginning_or_its_case(knock, invoice):
    stranger = knock("page", "x" * 32)

    for key in (invoice.key[:-1], invoice.key + "x", invoice.key.swapcase()):
        assert knock("page", key) == stranger


@pytest.mark.parametrize("path", ["/nowhere/", "/payments/", "/static/nothing.css", "/.env"])
def test_a_path_that_leads_nowhere_is_not_found(client, db, path):
    response = client.get(path)

    assert response.status_code == 404


def test_what_a_visitor_typed_is_not_repeated(client, db):
    response = client.get("/products/a-word-of-mine/?q=another-word")

    assert b"a-word-of-mine" not in response.content
    assert b"another-word" not in response.content


# The database is away


@pytest.mark.parametrize("error", [OperationalError, InterfaceError])
def test_a_database_in_trouble_is_a_page_that_asks_to_come_back(client, db, monkeypatch, error):
    def trouble(self):
        raise error("database is locked at /var/lib/shop.sqlite3")

    monkeypatch.setattr(ProductQuerySet, "on_sale", trouble)

    response = client.get("/")

    assert response.status_code == 503
    assert int(response["Retry-After"]) > 0
    assert b"We will be back in a moment" in response.content
    assert b"sqlite3" not in response.content


@pytest.mark.parametrize(
    "path",
    ["/", "/products/any/", f"/payments/invoice/{KEY}/", f"/payments/invoice/{KEY}/status/"],
)
def test_no_page_breaks_down_without_a_database(client, database_away, path):
    response = client.get(path)

    assert response.status_code == 503
    assert response["Retry-After"]


def test_a_shopper_with_a_basket_is_asked_to_come_back_as_well(client, product, request):
    client.post(f"/basket/{product.pk}/")
    request.getfixturevalue("database_away")

    for path in ("/", "/basket/", f"/payments/invoice/{KEY}/", "/payments/invoice/no-key/"):
        assert client.get(path).status_code == 503


def test_a_callback_without_a_database_is_to_be_sent_again(call_back, database_away):
    response = call_back()

    assert response.status_code == 503
    assert response["Retry-After"]


def test_a_crash_in_the_books_is_to_be_sent_again(call_back, invoice, monkeypatch):
    def trouble(*args, **kwargs):
        raise OperationalError("database is locked")

    monkeypatch.setattr(ingestion, "apply_report", trouble)

    response = call_back(invoice)

    assert response.status_code == 503
    assert Callback.objects.get().outcome == Callback.Outcome.FAILED


def test_the_shop_is_healthy_while_the_database_answers(client, db):
    response = client.get("/healthz")

    assert (response.status_code, response.content) == (200, b"ok")
    assert "no-store" in response["Cache-Control"]


def test_the_shop_is_not_healthy_without_its_database(client, database_away):
    assert client.get("/healthz").status_code == 503


# The pages of errors


def test_a_form_without_its_token_meets_our_own_words(product):
    response = Client(enforce_csrf_checks=True).post(f"/basket/{product.pk}/")

    assert response.status_code == 403
    assert b"they are needed for it" in response.content
    assert b"CSRF" not in response.content


def test_the_last_resort_needs_neither_context_nor_database(rf):
    response = server_error(rf.get("/"))

    assert response.status_code == 500
    assert b"payments are noted by themselves" in response.content


def test_an_unforeseen_error_is_a_page_in_our_own_words(product, monkeypatch):
    def crash(self):
        raise RuntimeError("a secret thought of the program")

    monkeypatch.setattr(ProductQuerySet, "on_sale", crash)

    response = Client(raise_request_exception=False).get("/")

    assert response.status_code == 500
    assert b"Something broke on our side" in response.content
    assert b"secret thought" not in response.content
    assert response["Content-Security-Policy"]


@pytest.mark.parametrize("debug", [False, True])
def test_nonsense_is_answered_in_plain_words(client, product, settings, debug):
    settings.DEBUG = debug

    response = client.post(f"/basket/{product.pk}/", {"quantity": "<b>many</b>"})

    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/plain")
    assert b"quantity: Enter a whole number." in response.content
    assert b"<b>" not in response.content


def test_nonsense_from_a_browser_is_answered_by_a_page(client, product):
    browser = {"accept": "text/html,application/xhtml+xml,*/*;q=0.8"}

    response = client.post(f"/basket/{product.pk}/", {"quantity": "<b>many</b>"}, headers=browser)

    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/html")
    assert b"That could not be understood" in response.content
    assert b"quantity: Enter a whole number." in response.content
    assert b"<b>" not in response.content


def test_a_browser_that_plays_the_payment_service_still_hears_plain_text(client, db):
    url = "/payments/callback/blockonomics?secret=demo-callback-secret"

    response = client.get(url, headers={"accept": "text/html"})

    assert response.status_code == 400
    assert response["Content-Type"].startswith("text/plain")


def pages_of_errors(product):
    client = Client()
    return {
        400: client.get("/", headers={"host": "elsewhere.example"}),
        403: Client(enforce_csrf_checks=True).post(f"/basket/{product.pk}/"),
        404: client.get("/products/nothing/"),
    }


@pytest.mark.parametrize("status", [400, 403, 404])
def test_an_error_looks_like_the_shop_and_shows_the_way_back(product, settings, status):
    response = pages_of_errors(product)[status]

    brand = re.search(r'<a class="brand" href="/">(.*?)</a>', response.content.decode())
    assert response.status_code == status
    assert b'<a class="button" href="/">' in response.content
    assert unescape(brand[1]) == settings.SHOP_NAME


# Doors that no link leads to


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
@pytest.mark.parametrize("door", ["page", "status", "receipt", "download"])
def test_doors_to_look_through_are_only_looked_through(client, invoice, door, method):
    path = DOORS[door][1].format(key=invoice.key, line=1)

    assert client.generic(method, path).status_code == 405


def test_a_quote_is_never_made_by_looking(client, make_invoice):
    invoice = make_invoice(expires_at=timezone.now() - timedelta(hours=1))

    response = client.get(f"/payments/invoice/{invoice.key}/quote/")

    assert response.status_code == 405


def test_a_quote_needs_the_key_and_nothing_else(invoice):
    browser = Client(enforce_csrf_checks=True, headers={"origin": "null"})

    for key, status in ((invoice.key, 302), ("x" * 32, 404)):
        assert browser.post(f"/payments/invoice/{key}/quote/").status_code == status


def test_a_huge_form_is_refused(client, product):
    response = client.post(f"/basket/{product.pk}/", {"quantity": "1" * 300_000})

    assert response.status_code == 400


def test_the_middleware_leaves_other_errors_alone():
    answer = PlainErrors(lambda request: None).process_exception(
        RequestFactory().get("/"), RuntimeError()
    )

    assert answer is None

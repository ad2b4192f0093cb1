"""The pages for people."""

import re
from html import unescape
from urllib.parse import parse_qs, urlsplit

import pytest
import responses
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from sandbox import chain, keys
from sandbox.blockonomics import callbacks
from sandbox.console import forms, links
from sandbox.models import Address, Settings, Store, Transaction
from tests.sandbox.conftest import CALLBACK
from tests.sandbox.test_keys import ZPUB

pytestmark = pytest.mark.django_db

SECRET = "s3cr3t-of-the-store"


@pytest.fixture
def page(client):
    """page("explorer") → the HTML; `query` goes into the URL."""

    def get(name, /, *args, status=200, **query):
        response = client.get(reverse(f"sandbox:{name}", args=args), query)
        assert response.status_code == status
        return unescape(response.content.decode())

    return get


@pytest.fixture
def link(new_address):
    return f"bitcoin:{new_address()}?amount=0.00012345&label=Himalaya%20Prints"


@pytest.fixture
def send(client):
    """send("pay", …) → the page after the redirect."""

    def post(name, /, *args, status=200, **fields):
        url = reverse(f"sandbox:{name}", args=args)
        response = client.post(url, fields, follow=True)
        assert response.status_code == status
        return unescape(response.content.decode())

    return post


# Links


@pytest.mark.parametrize(
    ("text", "value", "label"),
    [
        ("{}", None, ""),
        ("bitcoin:{}", None, ""),
        ("BITCOIN:{}?amount=1", 100_000_000, ""),
        ("bitcoin:{}?amount=0.00000001&label=A%26B", 1, "A&B"),
        ("bitcoin:{}?amount=0.000000001", None, ""),
        ("bitcoin:{}?amount=-1", None, ""),
        ("bitcoin:{}?amount=NaN", None, ""),
        ("bitcoin:{}?amount=1e400", None, ""),
        ("bitcoin:{}?amount=x&message=hello", None, ""),
    ],
)
def test_a_payment_link_is_read(text, value, label):
    link = links.read_link(text.format(chain.CUSTOMER))

    assert link == links.PaymentLink(chain.CUSTOMER, value, label)


def test_capitals_are_read_too():
    assert links.read_link(f"BITCOIN:{chain.CUSTOMER.upper()}").address == chain.CUSTOMER


@pytest.mark.parametrize("text", ["nonsense", "bitcoin:tb1qxyz", "<script>", "\0"])
def test_what_is_no_link_is_said_to_be_none(page, text):
    assert "This is no Bitcoin address" in page("wallet", uri=text)


# The wallet


def test_a_wallet_without_a_link_asks_for_one(page):
    html = page("wallet")

    assert "paste an address" in html
    assert "Nothing here is real money" in html


def test_a_link_fills_the_wallet(page, link):
    html = page("wallet", uri=link)

    for words in ("Pay Himalaya Prints", "0.00012345", "Pay the exact amount", "Pay half"):
        assert words in html
    assert "0.00006173" in html
    assert "0.00013579" in html


def test_the_wallet_remembers_what_a_link_asked_for(page, link):
    page("wallet", uri=link)

    watched = Address.objects.get()
    assert (watched.asked_value, watched.label) == (12345, "Himalaya Prints")
    html = page("wallet")
    picked = re.search(r'class="pick" href="([^"]+)"', html)[1]
    assert parse_qs(urlsplit(picked).query)["uri"] == [link]


@pytest.mark.parametrize(
    ("fields", "value"),
    [
        ({"choice": "exact"}, 12345),
        ({"choice": "half"}, 6173),
        ({"choice": "more"}, 13579),
        ({"choice": "own", "amount": " 0.5 "}, 50_000_000),
    ],
)
def test_each_button_pays_its_amount(send, link, fields, value):
    html = send("pay", uri=link, **fields)

    payment = Transaction.objects.get()
    assert (payment.total, payment.rbf) == (value, 0)
    assert "Payment sent" in html
    assert "Pay Himalaya Prints" in html
    assert payment.txid[:10] in html


def test_a_payment_may_be_replaceable(send, link):
    send("pay", uri=link, choice="exact", rbf="on")

    assert Transaction.objects.get().rbf == 1


@pytest.mark.parametrize("amount", ["", "much", "0", "-1", "0.000000001", "99999999"])
def test_an_amount_that_is_none_is_refused(send, link, amount):
    html = send("pay", status=400, uri=link, choice="own", amount=amount)

    assert "Give an amount such as" in html
    assert not Transaction.objects.exists()


def test_dust_is_refused_beside_the_amount(send, link):
    html = send("pay", status=400, uri=link, choice="own", amount="0.00000293")

    assert "293 satoshis are dust" in html
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("fields", [{}, {"uri": "nonsense"}, {"choice": "all"}])
def test_a_form_that_is_not_ours_pays_nothing(send, link, fields):
    send("pay", status=400, **{"uri": link, **fields} if "choice" in fields else fields)

    assert not Transaction.objects.exists()


def test_a_bare_address_has_no_exact_amount(page, send):
    assert "Pay the exact amount" not in page("wallet", uri=chain.CUSTOMER)
    send("pay", status=400, uri=chain.CUSTOMER, choice="exact")


@pytest.mark.parametrize(
    ("action", "words", "fates"),
    [
        ("replace", "the old one is gone", ["alive", "replaced"]),
        ("take-back", "goes back to the customer", ["alive", "replaced"]),
        ("drop", "Nobody hears from it again", ["dropped"]),
        ("mine", "A block was mined", ["alive"]),
    ],
)
def test_the_buttons_beside_a_payment_work(send, link, action, words, fates):
    send("pay", uri=link, choice="exact")
    txid = Transaction.objects.get().txid

    html = send("change_chain", action, uri=link, txid=txid)

    assert words in html
    assert [payment.fate for payment in Transaction.objects.all()] == fates


def test_taking_back_pays_the_customer(send, link):
    send("pay", uri=link, choice="exact")
    send("change_chain", "take-back", txid=Transaction.objects.get().txid)

    [output] = Transaction.objects.alive().get().payments
    assert (output.address, output.value) == (chain.CUSTOMER, 12345)


def test_a_button_that_comes_too_late_says_so(send, link):
    payment = chain.pay([(links.read_link(link).address, 5_000)])
    chain.mine()

    assert "is in a block" in send("change_chain", "drop", status=409, txid=payment.txid)
    assert "no transaction" in send("change_chain", "drop", status=409, txid="0")
    send("change_chain", "steal", status=404)


@pytest.mark.parametrize("place", ["explorer", "callback_log"])
def test_a_block_can_be_mined_from_other_pages(client, place):
    url = reverse("sandbox:change_chain", args=["mine"])
    response = client.post(url, {"from": place})

    assert response.url.startswith(reverse(f"sandbox:{place}"))


def test_from_a_transaction_the_way_leads_back_to_it(client, link):
    payment = chain.pay([(links.read_link(link).address, 5_000)])
    url = reverse("sandbox:change_chain", args=["mine"])

    response = client.post(url, {"from": "transaction", "txid": payment.txid})

    assert urlsplit(response.url).path == reverse("sandbox:transaction", args=[payment.txid])


def test_forms_of_other_sites_are_refused(link):
    strict = Client(enforce_csrf_checks=True)

    for name, args in [("pay", []), ("change_chain", ["mine"]), ("settings", [])]:
        assert strict.post(reverse(f"sandbox:{name}", args=args), {"uri": link}).status_code == 403


def test_the_way_back_leads_to_the_shop_only(page, link):
    shop = "http://testserver/payments/invoice/x/"

    assert f'href="{shop}"' in page("wallet", **{"uri": link, "return": shop})
    assert 'href="/basket/"' in page("wallet", **{"uri": link, "return": "/basket/"})
    for elsewhere in ("https://evil.example/", "javascript:alert(1)", "//evil.example/", "ftp:x"):
        assert "Back to the shop" not in page("wallet", **{"uri": link, "return": elsewhere})


def test_the_way_back_is_kept_after_a_payment(send, link):
    shop = "http://testserver/payments/invoice/x/"

    assert f'href="{shop}"' in send("pay", **{"uri": link, "choice": "exact", "return": shop})


# The explorer


def test_the_explorer_shows_blocks_and_transactions(page, link):
    assert "nothing mined yet" in page("explorer")
    payment = chain.pay([(links.read_link(link).address, 12345)])
    height = chain.mine()

    html = page("explorer")

    assert str(height) in html
    assert payment.txid[:10] in html
    assert "1 confirmation" in html


def test_an_address_has_a_page(page, link):
    address = links.read_link(link).address
    chain.pay([(address, 12345)])
    dropped = chain.pay([(address, 1_000)])
    chain.drop(dropped.txid)

    html = page("address", address)

    assert address in html
    assert "0.00012345 BTC" in html
    assert "Prints" in html


def test_a_transaction_has_a_page(page, link):
    old = chain.pay([(links.read_link(link).address, 12345)], rbf=1)
    assert "replaceable" in page("transaction", old.txid)
    new = chain.replace(old.txid)

    html = page("transaction", old.txid)

    assert "replaced" in html
    assert ">change<" in html
    assert chain.CUSTOMER[:10] in html
    assert new.txid[:10] in html


def test_what_is_not_there_is_not_found(page):
    page("address", keys.invent_test_address(), status=404)
    page("transaction", "0" * 64, status=404)


# The callback log, and secrets


def test_the_log_tells_answers_and_retries_without_the_secret(page, link):
    chain.pay([(links.read_link(link).address, 12345)])
    assert "due" in page("callback_log")
    with responses.RequestsMock() as wire:
        wire.get("https://shop.example/callback", status=503, body=f"wrong secret {SECRET}")
        callbacks.deliver_due()

    html = page("callback_log")

    assert SECRET not in html
    assert "secret=•••" in html
    assert "answer 503" in html
    assert "wrong secret •••" in html
    assert "next try at" in html


def test_an_error_in_the_log_tells_no_secret(page, link):
    chain.pay([(links.read_link(link).address, 12345)])
    [delivery] = callbacks.claim_due()
    url = CALLBACK + "&status=0"
    error = f"ConnectionError: Max retries exceeded with url: /callback?secret={SECRET}&status=0"
    callbacks.note(delivery, callbacks.Answer(url, timezone.now(), 5, error=error))
    Store.objects.update(http_callback="https://shop.example/other")

    html = page("callback_log")

    assert SECRET not in html
    assert "no answer" in html


def test_no_page_shows_a_secret(page, link):
    payment = chain.pay([(links.read_link(link).address, 12345)])

    for name, *args in (
        ["wallet"],
        ["explorer"],
        ["callback_log"],
        ["settings"],
        ["transaction", payment.txid],
    ):
        assert SECRET not in page(name, *args)


# The settings


def settings_fields(**changes):
    form = forms.SettingsForm(instance=Settings.objects.current())
    values = {bound.html_name: bound.value() for bound in form}
    values["skipped_statuses"] = "[0, 1]"
    fields = {
        name: value for name, value in values.items() if value is not None and value is not False
    }
    return {**fields, **changes}


def test_settings_are_saved(send):
    html = send("settings", **settings_fields(price="50000", fault_price="null", callbacks="twice"))

    row = Settings.objects.current()
    assert "Saved." in html
    assert (row.price, row.fault_of("price"), row.callbacks) == (50000, "null", "twice")
    assert row.fault_of("balance") == "none"
    assert row.callback_crypto is True


def test_settings_that_cannot_be_are_refused(send):
    html = send("settings", status=400, **settings_fields(price="-1"))

    assert 'class="problem"' in html
    assert Settings.objects.current().price > 0


def test_one_button_turns_all_faults_off(send, change):
    change(faults={"price": "500"}, callbacks="off")

    assert "All faults are off" in send("settings", reset="1")
    assert Settings.objects.current().faults == {}


def test_a_store_is_edited_without_showing_its_url(send, store):
    html = send("edit_store", store.pk, name="Renamed", wallet=store.wallet_id, testmode="on")

    store.refresh_from_db()
    assert (store.name, store.testmode, store.http_callback) == ("Renamed", True, CALLBACK)
    assert SECRET not in html

    new = "http://127.0.0.1:8000/cb?secret=another-one"
    send("edit_store", store.pk, name="Renamed", wallet="", new_callback=new)
    store.refresh_from_db()
    assert (store.wallet, store.testmode, store.http_callback) == (None, False, new)


def test_a_store_with_errors_does_not_show_the_secret_again(send, store):
    url = f"ftp://shop.example/?secret={SECRET}-new"

    html = send("edit_store", store.pk, status=400, name="A", new_callback=url)

    assert "starts with http" in html
    assert SECRET not in html


def test_stores_and_wallets_are_added_and_deleted(send, store):
    account = store.account.pk
    send("new_wallet", account=account, name="Cold", address=ZPUB)
    send("new_store", account=account, name="Second", new_callback="http://localhost/cb")

    assert store.account.wallets.filter(address=ZPUB, name="Cold").exists()
    assert store.account.stores.filter(name="Second").exists()
    send("edit_store", store.pk, delete="1")
    assert not Store.objects.filter(pk=store.pk).exists()


def test_a_wallet_with_a_wrong_key_is_refused(send, account):
    html = send("new_wallet", status=400, account=account.pk, address="nonsense")

    assert "This is no extended public key" in html
    send("new_wallet", status=404, account="x", address=ZPUB)


# All pages


def test_no_page_needs_inline_script_or_style(page, link):
    payment = chain.pay([(links.read_link(link).address, 12345)])

    for name, *args in (["wallet"], ["settings"], ["transaction", payment.txid]):
        html = page(name, *args)
        assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?![^>]*\ssrc=)", html)


def test_pages_are_never_stored(client):
    assert "no-store" in client.get(reverse("sandbox:wallet"))["Cache-Control"]


def test_every_field_has_a_label(page, link):
    for name, query in (("wallet", {"uri": link}), ("settings", {})):
        html = page(name, **query)
        ids = re.findall(r'<(?:input(?! type="hidden")|select|textarea)[^>]*\sid="([^"]+)"', html)
        assert ids
        assert len(ids) == len(set(ids))
        assert set(ids) <= set(re.findall(r'<label[^>]*\sfor="([^"]+)"', html))

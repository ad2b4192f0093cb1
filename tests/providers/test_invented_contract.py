"""An invented card service keeps the contract too: the border is not Blockonomics in disguise."""

import hmac
import itertools
import json
import re
from dataclasses import replace
from datetime import timedelta

import pytest
import responses

from payments import providers
from payments.models import Delivery, Invoice, Transaction
from payments.providers import base
from payments.stock import OutOfStock
from tests.providers.contract import AtTheBorder, Call, FakeService, ThroughTheShop
from tests.providers.invented import Tally

KEY = "the-key-of-our-account-at-tally"
ABILITIES = [
    base.PricesInMarket,
    base.ReportsBalances,
    base.FindsTransactions,
    base.PushesBySocket,
    base.RefundsByHand,
    base.LimitsLookUps,
    base.LimitsUnusedAddresses,
    base.Diagnoses,
    base.ChecksSettings,
]


class FakeTally(FakeService):
    slug = "tally"
    secrets = [KEY]

    def __init__(self, wire, settings):
        self.settings, self.paid, self.now = settings, [], None
        self.sessions = map("session-{}".format, itertools.count(1))
        where = "https://tally.example/sessions"
        wire.add_callback("POST", where, self.saying(self.new_session))
        wire.add_callback("GET", re.compile(f"{where}/.*/payments"), self.saying(self.payments))

    def saying(self, usual):
        def answer(request):
            assert request.headers["Authorization"] == f"Bearer {KEY}"
            if isinstance(self.now, Exception):
                raise self.now
            status, body = self.now or (200, json.dumps(usual(request)))
            return status, {}, body

        return answer

    def new_session(self, request):
        session = next(self.sessions)
        return {"id": session, "url": f"https://tally.example/pay/{session}"}

    def payments(self, request):
        session = request.url.split("/")[-2]
        return [event for event in self.paid if event["session"] == session]

    def is_told(self, answer):
        self.now = answer

    def recovers(self):
        self.now = None

    def refusal(self, words):
        return 401, json.dumps({"error": words})

    def event(self, reference, transaction_id, amount, **more):
        told = {"type": "payment.succeeded", "session": reference, "payment": transaction_id}
        return {**told, "cents": amount, **more}

    def is_paid(self, reference, transaction_id, amount):
        self.paid.append(self.event(reference, transaction_id, amount))

    def transaction_id(self, number):
        return f"payment-{number}"

    def signed(self, body: bytes) -> Call:
        signature = hmac.digest(KEY.encode(), body, "sha256").hex()
        return Call("POST", "", body, "application/json", {"Tally-Signature": signature})

    def steps(self, reference, transaction_id, amount):
        event = self.event(reference, transaction_id, amount)
        return [self.signed(json.dumps(event).encode())]

    def forgeries(self, call):
        more = call.body.replace(b"succeeded", b"succeeded ")
        return [
            replace(call, headers={}),
            replace(call, headers={"Tally-Signature": ""}),
            replace(call, headers={"Tally-Signature": "0" * 64}),
            replace(call, body=more),
        ]

    def malformed(self):
        usual = self.event("session-1", "payment-1", 5)
        wrong = [{**usual, "cents": cents} for cents in (0, -5, 4.5, "5", True, None, 10**30)]
        wrong += [{}, [], None, {**usual, "session": 5}]
        bodies = [json.dumps(each).encode() for each in wrong]
        bodies += [b"", b"no JSON", b"\xff\xfe", b"[" * 9_000]
        bodies.append(json.dumps(usual).encode().replace(b": 5", b": 1e999999999"))
        return [self.signed(body) for body in bodies]

    def beside_the_point(self, reference):
        event = self.event(reference, "payment-1", 5, type="payout.sent")
        return [self.signed(json.dumps(event).encode())]

    def forget_settings(self):
        self.settings.TALLY_KEY = ""


@pytest.fixture
def fake(settings, monkeypatch):
    """Registers Tally as the shop's only way to pay."""
    monkeypatch.setitem(providers.PROVIDERS, "tally", "tests.providers.invented.Tally")
    settings.WAYS_TO_PAY = ["tally"]
    settings.TALLY_KEY = KEY
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        yield FakeTally(wire, settings)


class TestAtTheBorder(AtTheBorder):
    pass


class TestThroughTheShop(ThroughTheShop):
    pass


def test_it_has_the_core_and_no_ability(fake):
    tally = providers.get("tally")

    assert [kind for kind in ABILITIES if isinstance(tally, kind)] == []


@pytest.mark.django_db
def test_a_shop_that_only_takes_cards_sells_and_delivers(fake, client, make_product):
    product = make_product(price="49.99", file=b"the mountain, full size")

    bought = client.post(f"/payments/create/{product.pk}/")

    invoice = Invoice.objects.get()
    attempt = invoice.attempt
    status = f"/payments/invoice/{invoice.key}/status/"
    download = f"/payments/invoice/{invoice.key}/download/{invoice.lines.get().pk}/"
    assert (bought.status_code, bought.url) == (302, invoice.get_absolute_url())
    assert (attempt.provider, attempt.asset_code, attempt.due) == ("tally", "USD", 4_999)
    assert attempt.rate == 1
    assert attempt.redirect_url == f"https://tally.example/pay/{attempt.reference}"
    assert client.get(status).json()["settlement"] == "waiting"
    assert client.get(download).status_code == 404

    (call,) = fake.steps(attempt.reference, "payment-1", 4_999)
    answers = [call.by(client, "tally").status_code for _ in range(2)]

    assert answers == [200, 200]
    told = client.get(status).json()
    assert (told["settlement"], told["due"], told["received"]) == ("paid", 4_999, 4_999)
    assert Delivery.objects.count() == Transaction.objects.count() == 1
    goods = client.get(download)
    assert b"".join(goods.streaming_content) == b"the mountain, full size"


@pytest.mark.django_db
def test_a_cent_too_little_is_no_payment(fake, client, make_product):
    client.post(f"/payments/create/{make_product(price='49.99').pk}/")
    invoice = Invoice.objects.get()
    (call,) = fake.steps(invoice.attempt.reference, "payment-1", 4_998)

    assert call.by(client, "tally").status_code == 200

    assert Invoice.objects.get().settlement == "underpaid"
    assert not Delivery.objects.exists()


@pytest.mark.django_db
def test_a_session_that_ran_out_is_followed_by_another_for_the_rest(
    fake, client, make_product, time_machine
):
    client.post(f"/payments/create/{make_product(price='49.99').pk}/")
    invoice = Invoice.objects.get()
    first = invoice.attempt
    (call,) = fake.steps(first.reference, "payment-1", 2_000)
    call.by(client, "tally")
    time_machine.move_to(invoice.expires_at + timedelta(minutes=2))

    client.post(f"/payments/invoice/{invoice.key}/quote/")

    second = Invoice.objects.get().attempt
    assert second.reference != first.reference
    assert (second.due, second.rate, second.earlier_quotes.count()) == (2_999, 1, 0)
    page = client.get(invoice.get_absolute_url()).content.decode()
    assert f'href="{second.redirect_url}"' in page and "29.99" in page

    (call,) = fake.steps(second.reference, "payment-2", 2_999)
    call.by(client, "tally")

    assert Invoice.objects.get().settlement == "paid"
    assert Delivery.objects.count() == 1


@pytest.mark.django_db
def test_a_session_that_nobody_is_shown_is_closed(fake, client, make_product, monkeypatch):
    closed = []
    monkeypatch.setattr(Tally, "close", lambda self, reference: closed.append(reference))
    product = make_product(stock=1)
    monkeypatch.setattr("payments.stock.reserve", sold_out(product))

    answer = client.post(f"/payments/create/{product.pk}/")

    assert answer.status_code == 409
    assert closed == ["session-1"]
    assert not Invoice.objects.exists()


def sold_out(product):
    def reserve(invoice):
        raise OutOfStock(product)

    return reserve

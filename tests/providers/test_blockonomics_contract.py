"""Blockonomics keeps the contract; what it keeps besides stands below."""

import json
import re
from dataclasses import replace
from urllib.parse import quote, urlencode

import pytest
from django.test import RequestFactory

from payments import providers
from payments.providers.base import AuthenticCallback
from payments.providers.blockonomics import messages
from tests.conftest import SECRET, SERVICE, address, txid
from tests.providers.contract import AtTheBorder, Call, FakeService, ThroughTheShop

STRANGER, PAYMENT = address(5_000), txid(1)
API_KEY = "an-api-key-of-great-worth"


class FakeBlockonomics(FakeService):
    slug = "blockonomics"
    secrets = [SECRET, API_KEY]
    destination = address(77).upper()

    def __init__(self, service, settings):
        self.wire, self.settings, self.paid = service, settings, []
        self.now = None
        for method, call in [
            ("POST", "searchhistory"),
            ("POST", "balance"),
            ("GET", "tx_detail"),
            ("GET", "v2/stores"),
        ]:
            usual = getattr(self, call.rpartition("/")[2])
            service.add_callback(method, re.compile(f"{SERVICE}/api/{call}.*"), self.saying(usual))

    def saying(self, usual):
        def answer(request):
            if isinstance(self.now, Exception):
                raise self.now
            if self.now:
                return self.now[0], {}, self.now[1]
            status, told = usual(request)
            return status, {}, json.dumps(told)

        return answer

    def searchhistory(self, request):
        wanted = json.loads(request.body)["addr"]
        rows = [{"txid": tx, "value": value} for at, tx, value in self.paid if at == wanted]
        return 200, {"pending": [], "history": rows}

    def balance(self, request):
        wanted = json.loads(request.body)["addr"].split()
        rows = [
            {"addr": each, "confirmed": sum(value for at, _, value in self.paid if at == each)}
            for each in wanted
        ]
        return 200, {"response": rows}

    def tx_detail(self, request):
        found = [
            {"address": at, "value": value}
            for at, tx, value in self.paid
            if tx == request.params["txid"]
        ]
        told = {"status": "Confirmed", "vout": found}
        return (200, told) if found else (404, {"error": "Not Found"})

    def stores(self, request):
        return 200, {"data": []}

    def is_told(self, answer):
        self.now = answer
        self.wire.answers.update(new_address=answer, price=answer)

    def recovers(self):
        self.is_told(None)

    def refusal(self, words):
        return 400, json.dumps({"error": {"message": words}})

    def is_paid(self, reference, transaction_id, amount):
        self.paid.append((reference, transaction_id, amount))

    def transaction_id(self, number):
        return txid(number)

    def call(self, reference=STRANGER, transaction_id=PAYMENT, amount=5, status=2, **more):
        query = {"secret": SECRET, "addr": reference, "txid": transaction_id, "value": amount}
        query = {**query, "status": status, **more}
        return Call(query=urlencode({name: x for name, x in query.items() if x is not None}))

    def steps(self, reference, transaction_id, amount):
        return [self.call(reference, transaction_id, amount, status) for status in (0, 1, 2)]

    def forgeries(self, call):
        right = f"secret={SECRET}"
        wrong = ["", "secret=", "secret=guess", f"{right}x", f"secret={SECRET[:-1]}", "Secret=x"]
        return [replace(call, query=call.query.replace(right, each)) for each in wrong]

    def malformed(self):
        return [
            self.call(status=3),
            self.call(status=None),
            self.call(amount="1e3"),
            self.call(amount=0),
            self.call(amount="9" * 40),
            self.call(transaction_id="none"),
            self.call(reference="?"),
            self.call(status=0, rbf=7),
            replace(self.call(), query=self.call().query + "&value=7"),
        ]

    def beside_the_point(self, reference):
        return [self.call(reference, crypto="BCH"), self.call(reference, status=-1)]

    def message(self, reference, transaction_id, amount):
        return json.dumps({"status": 2, "timestamp": 1, "value": amount, "txid": transaction_id})

    def forget_settings(self):
        self.settings.BLOCKONOMICS_API_KEY = ""
        self.settings.BLOCKONOMICS_CALLBACK_SECRETS = []


@pytest.fixture
def fake(service, settings):
    settings.BLOCKONOMICS_API_KEY = API_KEY
    return FakeBlockonomics(service, settings)


class TestAtTheBorder(AtTheBorder):
    pass


class TestThroughTheShop(ThroughTheShop):
    pass


def authentic(call: Call) -> AuthenticCallback:
    return providers.get("blockonomics").authenticate(call.by(RequestFactory(), "blockonomics"))


@pytest.mark.parametrize("missing", ["BLOCKONOMICS_API_KEY", "BLOCKONOMICS_CALLBACK_SECRETS"])
def test_key_and_secret_are_both_needed(settings, missing):
    assert providers.get("blockonomics").is_configured()

    setattr(settings, missing, type(getattr(settings, missing))())

    assert not providers.get("blockonomics").is_configured()


def test_each_of_several_secrets_is_taken_and_none_of_them_is_kept(fake, settings):
    settings.BLOCKONOMICS_CALLBACK_SECRETS = [SECRET, "the secret of last year"]

    for secret in settings.BLOCKONOMICS_CALLBACK_SECRETS:
        kept = authentic(
            replace(fake.call(), query=f"secret={quote(secret)}&label={quote(secret)}")
        )
        assert kept.query == "label=%5Bsecret%5D"


def test_a_long_query_is_kept_whole_and_read(fake):
    kept = authentic(fake.call(label="x" * 20_000))

    assert len(kept.query) > 20_000
    assert providers.get("blockonomics").parse(kept)


def test_a_store_without_a_wallet_does_not_lower_the_gap_limit(monkeypatch):
    blockonomics = providers.get("blockonomics")
    ours = {"http_callback": blockonomics.callback_url()}
    stores = [{**ours, "wallets": []}, {**ours, "wallets": [{"gap_limit": 100}]}]
    told = messages.Stores.model_validate({"data": stores}).data
    monkeypatch.setattr(type(blockonomics.client), "stores", lambda self: told)

    assert blockonomics.gap_limit() == 100


@pytest.mark.parametrize(
    ("status", "rbf", "confirmations", "is_final", "is_replaceable"),
    [
        (0, None, 0, False, False),
        (0, 0, 0, False, False),
        (0, 1, 0, False, True),
        (0, 2, 0, False, True),
        (1, 2, 1, False, False),
        (2, "anything", 2, True, False),
    ],
)
def test_its_status_becomes_confirmations(
    fake, status, rbf, confirmations, is_final, is_replaceable
):
    (report,) = providers.get("blockonomics").parse(authentic(fake.call(status=status, rbf=rbf)))

    assert report.confirmations == confirmations
    assert (report.is_final, report.is_replaceable) == (is_final, is_replaceable)

"""The callback door under hostile queries, drawn from a grammar of nasty values.

All of them, or as many as fit into the time; with SOAK=1 there is no limit of time and twenty times
as many. The seed is fixed and so are the queries.
"""

import os
import random
import time
from urllib.parse import quote, quote_from_bytes

import pytest
from django.core.handlers.wsgi import WSGIHandler, WSGIRequest
from django.test import RequestFactory

from payments import providers
from payments.models import Callback, Delivery, Invoice, Transaction
from tests.conftest import SECRET, address, txid
from tests.resilience import soak

QUERIES = 1_000_000 if soak.ASKED else 50_000
# The second time, on PostgreSQL, it is only about what that takes for text.
SECONDS = soak.SECONDS if soak.ASKED else 15 if os.environ.get("DATABASE_URL") else 40
DOOR = "/payments/callback/blockonomics"

pytestmark = [pytest.mark.hard, pytest.mark.timeout(soak.TIMEOUT)]

NASTY = [
    *[
        "",
        " ",
        "0",
        "-0",
        "1",
        "2",
        "3",
        "-1",
        "-2",
        "00",
        "+2",
        "2.0",
        "2e0",
        "0x2",
        "１",
        "٢",
        "²",
    ],
    *["9" * 17, "9" * 18, "9" * 400, "9" * 5_000, "-" + "9" * 30, "1e999999999", "NaN", "Infinity"],
    *["null", "None", "true", "undefined", "[]", "{}", "[1]", '{"$gt": ""}', "a\0b", "\0", "\r\n"],
    *[
        "' OR 1=1 --",
        '"; DROP TABLE payments_invoice; --',
        "1; SELECT pg_sleep(9)",
        "%",
        "%%s",
        "{0}",
    ],
    *[
        "../../etc/passwd",
        "<script>alert(1)</script>",
        "${jndi:ldap://x}",
        "{{ 7 * 7 }}",
        "\\",
        "|",
    ],
    *["ß", "İ", "ﬀ", "😀", "\u202e", "\ud7ff", "\ufeff", "é" * 300, "\U0010ffff", "a" * 3_000],
    *["BTC", "btc", "USDT", "BCH", txid(1), txid(1).upper(), txid(1)[1:], txid(1) + "0", "g" * 64],
    *[address(0), address(0).upper(), address(0)[:-1], address(0) + "q", address(7), "1" * 34],
    *["TestBTCTransaction_1234567890", "1TestBTCAddress"],
]
ALMOST = [SECRET[:-1], SECRET + "\0", SECRET + " ", SECRET.upper(), SECRET * 2, f"{SECRET},x"]
# Bytes that are no text at all.
BROKEN = [
    b"\xff",
    b"\xc3(",
    b"\xed\xa0\x80",
    b"%",
    b"%zz",
    b"%c3%28",
    b"%00",
    b"%u0041",
    b"\xf8\x88",
]
NAMES = ["secret", "addr", "status", "value", "txid", "rbf", "crypto"]
STRANGE_NAMES = ["", "Secret", "secret[]", "addr\0", "__proto__", "status ", "é", "a" * 300, "%"]


class Grammar:
    def __init__(self, chance: random.Random, invoice):
        self.chance = chance
        self.right = {
            "addr": [invoice.attempt.reference],
            "status": ["0", "1", "2"],
            "value": ["1", "546", "10000", "2100000000000000"],
            "txid": [txid(number) for number in range(5)],
            "rbf": ["0", "1", "2"],
            "crypto": ["BTC"],
        }

    def query(self, knows_the_secret: bool) -> str:
        """A query that is right in places; sometimes parameters lack, come twice or are strange."""
        pairs = [(name, self.value(name)) for name in NAMES[1:] if self.chance.random() < 0.9]
        if self.chance.random() < 0.15:
            pairs.append((self.chance.choice(NAMES[1:]), self.nasty()))
        if self.chance.random() < 0.15:
            pairs.append((quote(self.chance.choice(STRANGE_NAMES)), self.nasty()))
        if knows_the_secret:
            pairs.append(("secret", SECRET))
        elif self.chance.random() < 0.7:
            pairs.append(("secret", self.wrong_secret()))
        self.chance.shuffle(pairs)
        separator = self.chance.choice(["&", "&", "&", "&&"])
        return separator.join(f"{name}={value}" for name, value in pairs)

    def value(self, name: str) -> str:
        if self.chance.random() < 0.6:
            return self.chance.choice(self.right[name])
        return self.nasty()

    def nasty(self) -> str:
        lot = self.chance.random()
        if lot < 0.1:
            return self.chance.choice(BROKEN).decode("latin-1")
        if lot < 0.2:
            return quote_from_bytes(self.chance.randbytes(self.chance.randrange(40)))
        if lot < 0.4:
            return quote(self.mutated(self.chance.choice(NASTY)))
        return quote(self.chance.choice(NASTY))

    def mutated(self, text: str) -> str:
        place = self.chance.randrange(len(text) + 1)
        return text[:place] + self.chance.choice(NASTY)[:5] + text[place + 1 :]

    def wrong_secret(self) -> str:
        return self.nasty() if self.chance.random() < 0.7 else quote(self.chance.choice(ALMOST))


@pytest.mark.django_db
def test_the_door_bears_whatever_is_said_to_it(make_invoice, caplog):
    caplog.set_level("ERROR", "django.request")
    chance = random.Random(2009)
    grammar, invoice = Grammar(chance, make_invoice()), Invoice.objects.get()
    # The whole shop behind its middleware, without what a test client takes its time for.
    shop, environ = WSGIHandler(), RequestFactory().get(DOOR).environ
    # What comes late would ask for the market's rate; that is another test's business.
    assert providers.get("blockonomics").market_rate("USD")
    began, asked, stored = time.monotonic(), 0, 0
    while asked < QUERIES and time.monotonic() - began < SECONDS:
        knows_the_secret = chance.random() < 0.15
        query = grammar.query(knows_the_secret)

        response = shop.get_response(WSGIRequest(environ | {"QUERY_STRING": query}))

        asked += 1
        wanted = {200, 400} if knows_the_secret else {403}
        assert response.status_code in wanted, (response.status_code, query)
        if knows_the_secret:
            stored += 1
            last = Callback.objects.first()
            assert SECRET not in last.query
            assert (last.outcome == "malformed") == (response.status_code == 400), query
        if asked % 500 == 0:
            assert Callback.objects.count() == stored, query
    assert Callback.objects.count() == stored > 0
    assert not Callback.objects.filter(outcome__in=["received", "failed"]).exists()
    assert set(Transaction.objects.values_list("attempt__invoice", flat=True)) <= {invoice.pk}
    assert Delivery.objects.count() <= 1
    print(f"{asked} hostile queries, {stored} of them with the secret")

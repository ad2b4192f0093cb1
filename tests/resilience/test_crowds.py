"""Mixed callbacks from 32 connections at once to the real server on SQLite; 100,000 with SOAK=1."""

import os
import random
from urllib.parse import urlencode

import pytest

from benchmarks import shop as bench
from benchmarks.load import crowd
from tests.conftest import address
from tests.resilience import soak
from tests.resilience.processes import Shop

CALLBACKS, INVOICES = (100_000, 400) if soak.ASKED else (600, 40)
CONNECTIONS = 32

pytestmark = [
    pytest.mark.hard,
    pytest.mark.xdist_group("heavy"),
    pytest.mark.timeout(soak.TIMEOUT),
    pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="it is about SQLite"),
]


def mixed(invoices, chance, heard):
    """Mostly payments in parts, reported again and again; and strangers, nonsense, other coins."""
    for _ in soak.rounds(CALLBACKS):
        (reference, due), part = chance.choice(invoices), chance.randrange(4)
        query = {"addr": reference, "status": chance.randrange(3), "value": due // 4}
        query["txid"] = f"{reference.encode().hex()[-40:]}{part:024x}"
        lot, secret = chance.random(), bench.SECRET
        if lot < 0.05:
            secret = "a-wrong-secret"
        elif lot < 0.10:
            query["addr"] = address(9_999)
        elif lot < 0.15:
            query["value"] = "nonsense"
        elif lot < 0.18:
            query["crypto"] = "USDT"
        else:
            known = heard.get((reference, query["txid"]), -1)
            heard[reference, query["txid"]] = max(known, query["status"])
        yield f"/payments/callback/blockonomics?{urlencode({'secret': secret, **query})}"


def test_a_crowd_is_heard_to_the_last_and_none_is_sent_away(tmp_path):
    heard = {}
    with Shop(tmp_path, DATABASE_URL="", REDIS_URL="") as shop:
        invoices = shop.open_invoices(INVOICES)
        shop.start("worker")
        shop.start("server")
        paths = mixed(invoices, random.Random(32), heard)

        outcome = crowd(shop.port, paths, CONNECTIONS)

        assert set(outcome.codes) <= {200, 400, 403}
        kept = shop.ask("SELECT count(*) FROM payments_callback")
        assert kept == [(outcome.codes.total() - outcome.codes[403],)]
        assert shop.ask("SELECT count(*) FROM payments_callback WHERE outcome = 'failed'") == [(0,)]
        books = shop.ask(
            "SELECT reference, transaction_id, confirmations FROM payments_transaction "
            "JOIN payments_paymentattempt ON payments_paymentattempt.id = attempt_id"
        )
        assert {(reference, txid): status for reference, txid, status in books} == heard
        assert len(books) == len(heard)
        assert "locked" not in shop.log.read_text()
        print(f"{outcome.codes.total()} callbacks, {outcome.codes}, {outcome.per_second:.0f}/s")
        print(f"p50 {outcome.percentile(50):.0f} ms, p99 {outcome.percentile(99):.0f} ms")

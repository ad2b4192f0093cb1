"""Killed at any moment, the shop loses nothing that it acknowledged and does nothing twice.

The real server and worker on the real database, under callbacks from senders that try again as
Blockonomics does; SIGKILL at random moments, 50 times, and with SOAK=1 1,000 times. And again with
senders that never try again: what they could not deliver, reconciliation alone finds.
"""

import heapq
import itertools
import json
import random
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from urllib.parse import parse_qsl, urlencode

import pytest
import requests

from benchmarks import shop
from tests.live import wait_until
from tests.providers.upstream import Upstream
from tests.resilience import soak
from tests.resilience.processes import UNSENT, Shop

KILLS = 1_000 if soak.ASKED else 50
SENDERS = 8
RETRIES = 7
# Blockonomics waits for 4 seconds, 8, 16 …; here time runs faster.
FIRST_PAUSE_SECONDS = 0.1
BREATH_SECONDS = 0.1
WAIT = "nothing is due yet"

pytestmark = [
    pytest.mark.hard,
    pytest.mark.xdist_group("heavy"),
    pytest.mark.timeout(soak.TIMEOUT),
]

TORN = """
SELECT count(*) FROM payments_invoice AS invoice
JOIN payments_paymentattempt AS attempt ON attempt.invoice_id = invoice.id
LEFT JOIN (
    SELECT attempt_id, sum(CASE WHEN is_final THEN amount ELSE 0 END) AS confirmed
    FROM payments_transaction GROUP BY attempt_id
) AS books ON books.attempt_id = attempt.id
LEFT JOIN payments_delivery AS delivery ON delivery.invoice_id = invoice.id
WHERE (invoice.settlement = 'waiting') <> (books.attempt_id IS NULL)
   OR (invoice.settlement = 'paid') <> (coalesce(books.confirmed, 0) >= attempt.due)
   OR (invoice.settlement = 'paid') <> (delivery.id IS NOT NULL)
   OR (SELECT count(*) FROM payments_mail AS mail WHERE mail.invoice_id = invoice.id
       AND mail.kind IN ('paid', 'sold'))
      <> CASE WHEN invoice.settlement = 'paid' THEN 2 ELSE 0 END
   OR (SELECT count(*) FROM payments_event AS event WHERE event.invoice_id = invoice.id
       AND event.kind = 'paid') <> CASE WHEN invoice.settlement = 'paid' THEN 1 ELSE 0 END
"""

FINAL = "SELECT transaction_id FROM payments_transaction WHERE is_final"


class Senders:
    """Eight at a time send callbacks; what is not answered with 200 is sent again, later and later.

    While one callback waits for its next attempt, others are sent. A payment's next status follows
    when the one before was acknowledged; after so many retries nothing more is told of it.
    """

    def __init__(self, port: int, payments: Iterator[list[dict]], retries: int):
        self.url = f"http://127.0.0.1:{port}/payments/callback/blockonomics"
        self.fresh, self.retries = payments, retries
        self.due, self.sending, self.lock = [], 0, threading.Lock()
        self.begun, self.acknowledged, self.given_up = [], Counter(), []
        self.refused = Counter()
        self.no_more = threading.Event()
        self.threads = [threading.Thread(target=self.send_all) for _ in range(SENDERS)]

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *error):
        self.no_more.set()
        for thread in self.threads:
            thread.join()

    def wait_for_answers(self, more: int):
        """Until so many more callbacks were acknowledged: each life gets some work done."""
        wanted = self.answered + more
        wait_until(lambda: self.answered >= wanted, "more is acknowledged")

    @property
    def answered(self) -> int:
        with self.lock:
            return self.acknowledged.total()

    def send_all(self):
        while attempt := self.next_attempt():
            if attempt is WAIT:
                time.sleep(0.01)
                continue
            due_at, number, tries, callbacks = attempt
            query = urlencode(callbacks[0])
            is_done = self.send(query)
            with self.lock:
                self.sending -= 1
                if is_done:
                    self.acknowledged[query] += 1
                    if callbacks[1:]:
                        heapq.heappush(self.due, (time.monotonic(), number, 0, callbacks[1:]))
                elif tries < self.retries:
                    pause = FIRST_PAUSE_SECONDS * 2**tries
                    again = (time.monotonic() + pause, number, tries + 1, callbacks)
                    heapq.heappush(self.due, again)
                else:
                    self.given_up.append(query)
            if not is_done and tries == self.retries:
                time.sleep(BREATH_SECONDS)

    def next_attempt(self):
        with self.lock:
            if self.due and self.due[0][0] <= time.monotonic():
                self.sending += 1
                return heapq.heappop(self.due)
            if not self.no_more.is_set():
                self.sending += 1
                self.begun.append(next(self.fresh))
                return time.monotonic(), len(self.begun), 0, self.begun[-1]
            return WAIT if self.due or self.sending else None

    def send(self, query: str) -> bool:
        try:
            answer = requests.get(f"{self.url}?secret={shop.SECRET}&{query}", timeout=10)
        except requests.RequestException:
            time.sleep(0.02)
            return False
        self.refused[answer.status_code] += answer.status_code != 200
        return answer.status_code == 200


class Chain(Upstream):
    """What Blockonomics tells of the payments to whoever asks."""

    def know(self, payments: list[list[dict]]):
        """All of them are confirmed by now."""
        self.held = defaultdict(list)
        for *_, last in payments:
            self.held[last["addr"]].append(last)

    @property
    def environment(self):
        return {"BLOCKONOMICS_URL": self.url, "BLOCKONOMICS_SEARCH_SECONDS": "0"}

    def body(self, call: str) -> bytes:
        asked = json.loads(self.question)["addr"].split()
        if call == "searchhistory":
            history = [payment for each in asked for payment in self.held[each]]
            return json.dumps({"pending": [], "history": history}).encode()
        sums = {each: sum(payment["value"] for payment in self.held[each]) for each in asked}
        rows = [{"addr": each, "confirmed": sums[each], "unconfirmed": 0} for each in asked]
        return json.dumps({"response": rows}).encode()


def payments_to(invoices: list[tuple], chance: random.Random) -> Iterator[list[dict]]:
    """The callbacks of one or two transactions to each invoice, some of them twice; for ever."""
    for number, (address, due) in enumerate(itertools.cycle(invoices)):
        parts = [due] if chance.random() < 0.7 else [due - 3_000, 3_000]
        for part, value in enumerate(parts):
            txid = f"{number:032x}{part:032x}"
            facts = {"addr": address, "value": value, "txid": txid}
            callbacks = [{**facts, "status": status} for status in (0, 1, 2)]
            if chance.random() < 0.3:
                callbacks.insert(chance.randrange(4), dict(chance.choice(callbacks)))
            yield callbacks


@pytest.mark.parametrize(
    ("kills", "retries"), [(KILLS, RETRIES), (KILLS // 5, 0)], ids=["tried again", "lost"]
)
def test_killed_at_random_moments_it_loses_nothing_and_doubles_nothing(tmp_path, kills, retries):
    chance = random.Random(50)
    with Chain() as chain, Shop(tmp_path, **chain.environment) as shop_:
        invoices = shop_.open_invoices(20 * kills)
        payments = payments_to(invoices, chance)
        shop_.start("worker")
        shop_.start("server")
        with Senders(shop_.port, payments, retries) as senders:
            for _ in soak.rounds(kills):
                senders.wait_for_answers(chance.randrange(12))
                time.sleep(chance.uniform(0, 0.1))
                victims = chance.choice([["server"], ["server"], ["worker"], ["server", "worker"]])
                for victim in victims:
                    shop_.kill(victim)
                assert shop_.ask(TORN) == [(0,)]
                for victim in victims:
                    shop_.start(victim)
            senders.wait_for_answers(10 * SENDERS)
        shop_.kill("worker")
        told = shop_.ask(FINAL)
        chain.know(senders.begun)
        shop_.run("reconcile")  # finds what the senders have given up
        shop_.finish_the_mail()
        audit(shop_, senders)
    if not retries:
        assert senders.given_up
        assert 0 < len(told) < len(senders.begun)
    print(
        f"{shop_.killed} {len(senders.begun)} payments, {senders.acknowledged.total()} answers, "
        f"{len(senders.given_up)} given up, {len(senders.begun) - len(told)} found by "
        f"reconciliation, refused {senders.refused}"
    )


def audit(shop_, senders):
    assert set(+senders.refused) <= {503}

    # What was acknowledged is in the inbox, at least as often, and came to its end there.
    inbox = Counter()
    for query, outcome in shop_.ask("SELECT query, outcome FROM payments_callback"):
        if outcome in ("recorded", "known"):
            inbox[frozenset(parse_qsl(query))] += 1
    for query, times in senders.acknowledged.items():
        assert inbox[frozenset(parse_qsl(query))] >= times

    # Every payment is in the books once, with what was sent.
    sent = {(p[0]["addr"], p[0]["txid"], p[0]["value"], 2) for p in senders.begun}
    books = shop_.ask(
        "SELECT reference, transaction_id, amount, confirmations FROM payments_transaction "
        "JOIN payments_paymentattempt ON payments_paymentattempt.id = attempt_id"
    )
    assert sorted(books) == sorted(sent)

    # Paid is who sent enough; each has its goods, and its two mails, once.
    received = Counter()
    for address, _, value, _ in sent:
        received[address] += value
    invoices = shop_.ask(
        "SELECT reference, due, settlement, order_code FROM payments_invoice "
        "JOIN payments_paymentattempt ON payments_paymentattempt.invoice_id = payments_invoice.id"
    )
    paid = {code for _, _, settlement, code in invoices if settlement == "paid"}
    assert paid == {code for address, due, _, code in invoices if received[address] >= due}
    assert shop_.ask(TORN) == [(0,)]
    assert shop_.ask("SELECT count(*) FROM payments_delivery") == [(len(paid),)]
    message_ids = shop_.message_ids()
    hosts = "@example.com>"
    # Besides, whoever paid in parts was asked for the rest.
    told = {name for name in message_ids if not name.startswith("<needs.")}
    assert told == {f"<{kind}.{code}{hosts}" for kind in ("paid", "sold") for code in paid}
    # A worker that dies between the mail and its note of it sends the same mail again.
    assert len(message_ids) - len(set(message_ids)) <= shop_.killed["worker"]
    assert shop_.ask(UNSENT) == [(0,)]
    assert "locked" not in shop_.log.read_text()

"""Killed at any moment, the shop loses nothing that it acknowledged and does nothing twice.

The real server and worker on the real database, under callbacks from senders that try again as
Blockonomics does; SIGKILL at random moments, 50 times, and with SOAK=1 1,000 times.
"""

import heapq
import json
import os
import random
import threading
import time
from collections import Counter
from urllib.parse import parse_qsl, urlencode

import pytest
import requests

from benchmarks import shop

from ..upstream import Upstream
from .processes import Shop

SOAK = os.environ.get("SOAK") == "1"
KILLS = 1_000 if SOAK else 50
SENDERS = 8
RETRIES = 7
# Blockonomics waits for 4 seconds, 8, 16 …; here time runs faster.
FIRST_PAUSE_SECONDS = 0.1
WAIT = "nothing is due yet"

pytestmark = [
    pytest.mark.hard,
    pytest.mark.xdist_group("heavy"),
    pytest.mark.timeout(120 if not SOAK else 3_600),
]

TORN = """
SELECT count(*) FROM payments_invoice AS invoice
LEFT JOIN (
    SELECT invoice_id, max(status) AS status,
           sum(CASE WHEN status = 2 THEN amount ELSE 0 END) AS confirmed
    FROM payments_transaction GROUP BY invoice_id
) AS books ON books.invoice_id = invoice.id
LEFT JOIN payments_delivery AS delivery ON delivery.invoice_id = invoice.id
WHERE invoice.status <> coalesce(books.status, -1)
   OR (invoice.settlement = 'paid') <> (coalesce(books.confirmed, 0) >= invoice.due)
   OR (invoice.settlement = 'paid') <> (delivery.id IS NOT NULL)
   OR (SELECT count(*) FROM payments_mail WHERE payments_mail.invoice_id = invoice.id)
      <> CASE WHEN invoice.settlement = 'paid' THEN 2 ELSE 0 END
   OR (SELECT count(*) FROM payments_event AS event WHERE event.invoice_id = invoice.id
       AND event.kind = 'paid') <> CASE WHEN invoice.settlement = 'paid' THEN 1 ELSE 0 END
"""


class Senders:
    """Eight at a time send callbacks; what is not answered with 200 is sent again, later and later.

    While one callback waits for its next attempt, others are sent. A payment's next status follows
    when the one before was acknowledged.
    """

    def __init__(self, port: int, payments: list[list[dict]]):
        self.url = f"http://127.0.0.1:{port}/payments/callback/blockonomics"
        self.fresh = iter(payments)
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
        wanted = self.acknowledged.total() + more
        deadline = time.monotonic() + 20
        while self.acknowledged.total() < wanted:
            assert time.monotonic() < deadline, "nothing is acknowledged any more"
            time.sleep(0.005)

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
                elif tries < RETRIES:
                    pause = FIRST_PAUSE_SECONDS * 2**tries
                    again = (time.monotonic() + pause, number, tries + 1, callbacks)
                    heapq.heappush(self.due, again)
                else:
                    self.given_up.append(query)

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

    payments = ()

    @property
    def environment(self):
        return {"BLOCKONOMICS_URL": self.url, "BLOCKONOMICS_SEARCH_SECONDS": "0"}

    def body(self, call: str) -> bytes:
        asked = json.loads(self.question)["addr"].split()
        held = [last for *_, last in self.payments if last["addr"] in asked]
        if call == "searchhistory":
            return json.dumps({"pending": [], "history": held}).encode()
        sums = Counter()
        for payment in held:
            sums[payment["addr"]] += payment["value"]
        rows = [{"addr": each, "confirmed": sums[each], "unconfirmed": 0} for each in asked]
        return json.dumps({"response": rows}).encode()


def payments_to(invoices: list[tuple], chance: random.Random) -> list[list[dict]]:
    """The callbacks of one or two transactions to each invoice, some of them twice."""
    payments = []
    for number, (address, due) in enumerate(invoices):
        parts = [due] if chance.random() < 0.7 else [due - 3_000, 3_000]
        for part, value in enumerate(parts):
            txid = f"{number:032x}{part:032x}"
            facts = {"addr": address, "value": value, "txid": txid}
            callbacks = [{**facts, "status": status} for status in (0, 1, 2)]
            if chance.random() < 0.3:
                callbacks.insert(chance.randrange(4), dict(chance.choice(callbacks)))
            payments.append(callbacks)
    return payments


def test_killed_at_random_moments_it_loses_nothing_and_doubles_nothing(tmp_path):
    chance = random.Random(50)
    with Chain() as chain, Shop(tmp_path, **chain.environment) as shop_:
        invoices = shop_.open_invoices(20 * KILLS)
        payments = payments_to(invoices, chance)
        shop_.start("worker")
        shop_.start("server")
        killed = Counter()
        with Senders(shop_.port, payments) as senders:
            for _ in range(KILLS):
                senders.wait_for_answers(chance.randrange(12))
                time.sleep(chance.uniform(0, 0.1))
                victims = chance.choice([["server"], ["server"], ["worker"], ["server", "worker"]])
                for victim in victims:
                    shop_.kill(victim)
                killed.update(victims)
                assert shop_.ask(TORN) == [(0,)]
                for victim in victims:
                    shop_.start(victim)
        shop_.kill("worker")
        chain.payments = senders.begun
        shop_.run("reconcile")  # finds what the senders have given up
        shop_.finish_the_mail()
        audit(shop_, senders, killed)


def audit(shop_, senders, killed):
    assert sum(killed.values()) >= KILLS
    assert set(+senders.refused) <= {503}
    assert len(senders.begun) > KILLS

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
        "SELECT reference, txid, amount, payments_transaction.status FROM payments_transaction "
        "JOIN payments_invoice ON payments_invoice.id = invoice_id"
    )
    assert sorted(books) == sorted(sent)

    # Paid is who sent enough; each has its goods, and its two mails, once.
    received = Counter()
    for address, _, value, _ in sent:
        received[address] += value
    invoices = shop_.ask("SELECT reference, due, settlement, order_code FROM payments_invoice")
    paid = {code for _, _, settlement, code in invoices if settlement == "paid"}
    assert paid == {code for address, due, _, code in invoices if received[address] >= due}
    assert shop_.ask(TORN) == [(0,)]
    assert shop_.ask("SELECT count(*) FROM payments_delivery") == [(len(paid),)]
    message_ids = shop_.message_ids()
    hosts = "@example.com>"
    assert {f"<{kind}.{code}{hosts}" for kind in ("paid", "sold") for code in paid} == set(
        message_ids
    )
    # A worker that dies between the mail and its note of it sends the same mail again.
    assert len(message_ids) - len(set(message_ids)) <= killed["worker"] + 1
    assert shop_.ask("SELECT count(*) FROM payments_mail WHERE sent_at IS NULL") == [(0,)]
    assert "locked" not in shop_.log.read_text()
    print(
        f"{killed} {len(senders.begun)} payments, {senders.acknowledged.total()} answers, "
        f"{len(senders.given_up)} given up, refused {senders.refused}, "
        f"{len(paid)} paid, {len(message_ids)} mails"
    )

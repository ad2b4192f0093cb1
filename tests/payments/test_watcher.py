"""manage.py watch_payments: a socket for every open invoice, and a shop that needs no callbacks."""

import asyncio
import contextlib
import json
import re
import resource
import signal
import time
from datetime import timedelta

import pytest
import requests
import websockets
from channels.db import database_sync_to_async
from django.core.cache import cache
from django.db import OperationalError
from django.db.models import prefetch_related_objects
from django.utils import timezone

from benchmarks import shop
from demo import goods
from payments import checkout, ingestion, providers, watcher
from payments.models import Delivery, Invoice, Line, PaymentAttempt, Transaction
from payments.watcher import Watcher
from tests.conftest import RATE, txid
from tests.live import PATIENCE_SECONDS, Demo, Sandbox, running, wait_until
from tests.resilience import soak

pytestmark = [pytest.mark.hard, pytest.mark.django_db(transaction=True)]

SOCKETS = 2_000
NOBODY = "http://127.0.0.1:1"


@pytest.fixture
def sandbox(tmp_path, settings):
    sandbox = Sandbox(tmp_path / "sandbox")
    sandbox.start()
    settings.BLOCKONOMICS_URL = sandbox.url
    cache.set("blockonomics-price-USD", RATE, None)
    yield sandbox
    sandbox.stop()


def open_invoice(number=0, **fields):
    """An invoice over 10 USD, 10,000 satoshis, with its attempt at hand for coroutines."""
    over = {"expires_at": timezone.now() + timedelta(minutes=15), **fields}
    invoices = shop.open_invoices(1, first=number, **over)
    prefetch_related_objects(invoices, "attempts")
    return invoices[0]


open_one = database_sync_to_async(open_invoice)


def settlement(invoice):
    return Invoice.objects.get(pk=invoice.pk).settlement


@database_sync_to_async
def settled_as(invoice, *wanted):
    return settlement(invoice) in wanted


@contextlib.asynccontextmanager
async def at_work(provider=None):
    """A watcher in this process, and nothing of it left afterwards."""
    its = Watcher(provider or providers.get("blockonomics"))
    task = asyncio.create_task(its.run())
    try:
        yield its
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert its.open_sockets == 0
        assert not its.listeners


async def until(condition, seconds=PATIENCE_SECONDS):
    """Waits for a plain or an asynchronous condition; returns the seconds that it took."""
    began = time.monotonic()
    while True:
        result = condition()
        if await result if asyncio.iscoroutine(result) else result:
            return time.monotonic() - began
        assert time.monotonic() - began < seconds, "it never came to that"
        await asyncio.sleep(0.01)


# A shop without callbacks


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_shop_behind_a_firewall_sells_with_nothing_but_the_watcher(sandbox, make_product, number):
    requests.post(
        f"{sandbox.url}/api/v2/stores/1",
        json={"http_callback": providers.get("blockonomics").callback_url()},
        headers={"Authorization": "Bearer demo-api-key"},
        timeout=30,
    ).raise_for_status()
    product = make_product()

    with running("watch_payments", BLOCKONOMICS_URL=sandbox.url) as process:
        invoice = checkout.place_order([Line(product)], providers.get("blockonomics"))
        sandbox.pay(invoice)
        wait_until(lambda: settlement(invoice) == "confirming")
        sandbox.control("mine", blocks=2)
        wait_until(lambda: settlement(invoice) == "paid")
        process.send_signal(number)
        output = process.communicate(timeout=PATIENCE_SECONDS)[0]

    assert process.returncode == 0
    assert output == "The watcher has ended.\n"
    assert Delivery.objects.get().invoice == invoice
    assert set(invoice.timeline.filter(kind="paid").values_list("by", flat=True)) == {"watcher"}
    assert Transaction.objects.of(invoice).get().verified_confirmations == 2


def test_the_demo_has_it_as_an_option(tmp_path, monkeypatch):
    # One search an hour: it is not reconciliation that finds the payment.
    monkeypatch.setenv("BLOCKONOMICS_SEARCH_SECONDS", "3600")

    with Demo(tmp_path, "--watch") as demo:
        demo.control("settings", callbacks="off")
        invoice = demo.buy(goods.GOODS[0].slug)
        page = requests.get(demo.url + invoice, timeout=30).text
        reference = re.search(r"\btb1q[0-9a-z]{38}\b", page)[0]
        demo.control("pay", address=reference, value=demo.status(invoice)["due"])
        demo.wait_until(invoice, settlement="confirming")
        demo.control("mine", blocks=2)
        demo.wait_until(invoice, settlement="paid")

        assert demo.stop() == 0
    assert "The watcher has ended." in demo.output
    assert "Traceback" not in demo.output


def test_the_service_ends_with_the_process_that_wanted_it():
    with running("watch_payments", "--parent", "1", BLOCKONOMICS_URL=NOBODY) as process:
        output = process.communicate(timeout=PATIENCE_SECONDS)[0]

    assert process.returncode == 0
    assert output == "The watcher has ended.\n"


# Which sockets are open


async def test_a_new_invoice_is_listened_to_within_a_second(sandbox):
    async with at_work() as its:
        await open_one(0)
        await until(lambda: its.open_sockets == 1)

        waits = []
        for number in range(1, 6):
            await open_one(number)
            waits.append(await until(lambda number=number: its.open_sockets == number + 1))

    assert max(waits) < 1


async def test_a_settled_invoice_is_dropped(sandbox):
    async with at_work() as its:
        paid, waiting = await open_one(0), await open_one(1)
        await until(lambda: its.open_sockets == 2)

        await asyncio.to_thread(sandbox.pay, paid)
        await asyncio.to_thread(sandbox.control, "mine", blocks=2)

        await until(lambda: settled_as(paid, "paid"))
        await until(lambda: its.open_sockets == 1)
        assert set(its.listeners) == {waiting.attempt.reference}


async def test_it_ends_after_the_sockets_that_were_closing_already(monkeypatch, provider):
    closed = []

    async def listen(self, reference):
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0.05)
            closed.append(reference)

    monkeypatch.setattr(Watcher, "listen", listen)
    async with at_work(provider) as its:
        its.listen_to({"settled"})
        await asyncio.sleep(0)
        its.listen_to(set())

    assert closed == ["settled"]


@pytest.mark.parametrize(
    ("hours", "settled", "watched"),
    [
        (23, "waiting", True),
        (25, "waiting", False),
        (23, "underpaid", True),
        (25, "underpaid", False),
        (9_999, "confirming", True),
    ],
)
def test_who_is_listened_to(provider, hours, settled, watched):
    invoice = open_invoice()
    Invoice.objects.filter(pk=invoice.pk).update(settlement=settled)
    quoted_at = timezone.now() - timedelta(hours=hours)
    PaymentAttempt.objects.filter(invoice=invoice).update(quoted_at=quoted_at)

    assert PaymentAttempt.objects.awaiting_payment(provider.slug).exists() == watched


def test_paid_invoices_and_those_of_others_are_not_listened_to(provider):
    Invoice.objects.filter(pk=open_invoice(0).pk).update(settlement="paid", paid_at=timezone.now())
    open_invoice(1, provider="another")

    assert not PaymentAttempt.objects.awaiting_payment(provider.slug).exists()


async def test_all_sockets_share_what_they_know_of_certificates(monkeypatch):
    opened = []

    async def connect(url, **options):
        opened.append((url, options["ssl"]))
        raise OSError

    monkeypatch.setattr("websockets.connect", connect)
    provider = Elsewhere(0)
    provider.socket_url = lambda reference: f"wss://www.example.com/payment/{reference}"

    async with at_work(provider):
        for number in range(3):
            await open_one(number)
        await until(lambda: len({url for url, _ in opened}) == 3)

    assert len({context for _, context in opened}) == 1
    assert opened[0][1].check_hostname


# Trouble with the sockets


async def test_it_connects_again_after_the_service_was_away(sandbox):
    async with at_work() as its:
        invoice = await open_one()
        await until(lambda: its.open_sockets == 1)

        await asyncio.to_thread(sandbox.stop)
        await until(lambda: its.open_sockets == 0)
        await asyncio.to_thread(sandbox.start)
        await asyncio.to_thread(sandbox.pay, invoice)

        await until(lambda: settled_as(invoice, "confirming"))
        assert its.open_sockets == 1


async def test_what_was_paid_while_nobody_listened_is_heard_of_at_once(sandbox):
    invoice = await open_one()
    await asyncio.to_thread(sandbox.pay, invoice)

    async with at_work():
        await until(lambda: settled_as(invoice, "confirming"))


@pytest.mark.parametrize("fault", ["error_msg", "no_txid", "refuse"])
async def test_the_sockets_faults_are_outlived(sandbox, fault, monkeypatch):
    monkeypatch.setattr(watcher, "LONGEST_PAUSE", 0.1)
    await asyncio.to_thread(sandbox.control, "settings", websocket=fault)
    async with at_work():
        invoice = await open_one()
        await asyncio.to_thread(sandbox.pay, invoice)
        assert await settled_as(invoice, "waiting")

        await asyncio.to_thread(sandbox.control, "settings", websocket="normal")
        await asyncio.to_thread(sandbox.stop)
        await asyncio.to_thread(sandbox.start)

        await until(lambda: settled_as(invoice, "confirming"))


class Elsewhere:
    """A provider whose sockets are another server's; it reads messages as Blockonomics does."""

    slug = "blockonomics"

    def __init__(self, port):
        self.port = port

    def socket_url(self, reference):
        return f"ws://127.0.0.1:{self.port}/payment/{reference}"

    def parse_message(self, reference, text):
        return providers.get("blockonomics").parse_message(reference, text)


@contextlib.asynccontextmanager
async def serving(talk):
    async with websockets.serve(talk, "127.0.0.1", 0) as server:
        yield Elsewhere(server.sockets[0].getsockname()[1])


def frame(**changes):
    return json.dumps({"status": 2, "timestamp": 1, "value": 10_000, "txid": txid(1), **changes})


NONSENSE = [
    "",
    "no JSON",
    "[]",
    "null",
    "1e999999",
    "[" * 8_000,
    b"\xff\xfe\x00",
    '{"error_msg": "Invoice expired (Expiry time is 7 days)"}',
    '{"status": 0, "timestamp": 1, "value": 10000}',
    frame(value=-1),
    frame(value=0),
    frame(value=True),
    frame(value="1e5"),
    frame(value=1.5),
    frame(value=10**30),
    frame(value=[10_000]),
    frame(status=3),
    frame(status=-1),
    frame(status=None),
    frame(txid="paid!"),
    frame(txid={"a": 1}),
]


async def test_nonsense_changes_nothing_and_ends_nothing(monkeypatch):
    connections = []

    async def talk(socket):
        connections.append(socket)
        for nonsense in NONSENSE:
            await socket.send(nonsense)
        await socket.send(frame(status=1))
        await socket.wait_closed()

    async with serving(talk) as provider, at_work(provider):
        invoice = await open_one()
        await until(lambda: settled_as(invoice, "confirming"))

    assert await database_sync_to_async(Transaction.objects.of(invoice).count)() == 1
    assert len(connections) == 1


async def test_a_frame_too_long_ends_a_connection_and_not_the_listening(monkeypatch):
    monkeypatch.setattr(watcher, "LONGEST_PAUSE", 0.05)
    connections = []

    async def talk(socket):
        connections.append(socket)
        await socket.send("x" * 1_000_000 if len(connections) < 3 else frame())
        await socket.wait_closed()

    async with serving(talk) as provider, at_work(provider):
        invoice = await open_one()
        await until(lambda: settled_as(invoice, "paid"))

    assert len(connections) == 3


async def test_a_bug_ends_a_connection_and_not_the_listening(monkeypatch):
    monkeypatch.setattr(watcher, "LONGEST_PAUSE", 0.05)
    readings = []

    async def talk(socket):
        await socket.send(frame())
        await socket.wait_closed()

    async with serving(talk) as provider:
        read = provider.parse_message

        def fail_at_first(reference, text):
            readings.append(text)
            if len(readings) < 3:
                raise ZeroDivisionError
            return read(reference, text)

        provider.parse_message = fail_at_first
        async with at_work(provider):
            invoice = await open_one()
            await until(lambda: settled_as(invoice, "paid"))


def test_pauses_grow_and_are_never_the_same_for_all():
    for failures, least, most in [(0, 0.5, 1.5), (3, 4, 12), (6, 30, 90), (10_000, 30, 90)]:
        pauses = {watcher.pause_after(failures) for _ in range(200)}
        assert least <= min(pauses) < max(pauses) <= most
        assert len(pauses) > 100


async def test_who_is_turned_away_again_and_again_comes_ever_less_often(monkeypatch):
    pauses = []
    monkeypatch.setattr(watcher, "pause_after", lambda failures: pauses.append(failures) or 0.01)

    async def turn_away(socket):
        await socket.close()

    async with serving(turn_away) as provider, at_work(provider):
        await open_one()
        await until(lambda: len(pauses) >= 6)

    assert pauses[:6] == [0, 1, 2, 3, 4, 5]


# Trouble with the database


async def test_a_payment_is_noted_as_soon_as_the_database_takes_it(monkeypatch):
    monkeypatch.setattr(watcher, "LONGEST_PAUSE", 0.05)
    record, refused = ingestion.record_report, []

    def away_at_first(*given, **more):
        if len(refused) < 4:
            refused.append(given)
            raise OperationalError("the database is away")
        return record(*given, **more)

    monkeypatch.setattr(ingestion, "record_report", away_at_first)

    async def talk(socket):
        await socket.send(frame())
        await socket.wait_closed()

    async with serving(talk) as provider, at_work(provider):
        invoice = await open_one()
        await until(lambda: settled_as(invoice, "paid"))

    assert len(refused) == 4


async def test_while_the_database_is_away_open_sockets_stay_open(sandbox, monkeypatch):
    monkeypatch.setattr(watcher, "LONGEST_PAUSE", 0.05)
    async with at_work() as its:
        await open_one(0)
        await until(lambda: its.open_sockets == 1)
        listener, looks = next(iter(its.listeners.values())), []

        def away():
            looks.append(1)
            raise OperationalError("the database is away")

        with monkeypatch.context() as patch:
            patch.setattr(its, "look_for_open", away)
            await until(lambda: len(looks) >= 5)
            assert its.open_sockets == 1

        await open_one(1)
        await until(lambda: its.open_sockets == 2)
        assert listener in its.listeners.values()


# Many


@pytest.fixture
def many_files():
    """As many open files as 2,000 sockets need, for this process and its children."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = SOCKETS + 1_000
    most = before[1] if before[1] != resource.RLIM_INFINITY else wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(max(before[0], wanted), most), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def open_quiet_ones(count):
    """So many invoices that nobody pays, without real addresses, which are slow to make up."""
    now = timezone.now()
    invoices = Invoice.objects.bulk_create(Invoice(currency="USD", total=10) for _ in range(count))
    PaymentAttempt.objects.bulk_create(
        PaymentAttempt(
            invoice=invoice,
            provider="blockonomics",
            asset_code="BTC",
            asset_decimals=8,
            reference=f"quiet{number}",
            rate=RATE,
            due=10_000,
            quoted_at=now,
            expires_at=now + timedelta(minutes=15),
        )
        for number, invoice in enumerate(invoices)
    )


@pytest.mark.timeout(soak.TIMEOUT)
async def test_two_thousand_sockets_at_once(many_files, sandbox):
    await database_sync_to_async(open_quiet_ones)(SOCKETS - 1)
    invoice = await open_one()

    async with at_work() as its:
        await until(lambda: its.open_sockets == SOCKETS, seconds=4 * PATIENCE_SECONDS)

        await asyncio.to_thread(sandbox.pay, invoice)

        heard_after = await until(lambda: settled_as(invoice, "confirming"))
        assert its.open_sockets == SOCKETS
        assert heard_after < 15

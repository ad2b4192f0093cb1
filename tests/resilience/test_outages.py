"""One thing at a time is away: what still works, and that the rest goes on when it is back."""

import os
import re
import time

import pytest
import requests

from benchmarks.shop import free_port
from tests.live import Demo, running, wait_until
from tests.providers.upstream import Upstream
from tests.resilience.processes import Shop
from tests.servers import postgresql, redis

# The shop's own patience is 4 seconds; the rest is for a machine that is busy.
SOON_SECONDS = 15

pytestmark = [pytest.mark.hard, pytest.mark.xdist_group("heavy")]


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


def test_without_redis_the_shop_sells_and_the_pages_ask(tmp_path, upstream):
    port = free_port()
    environment = {
        "REDIS_URL": f"redis://127.0.0.1:{port}/0",
        "BLOCKONOMICS_URL": upstream.url,
        "DEBUG": "true",
    }
    with Shop(tmp_path, **environment) as shop:
        shop.run("stock")
        with redis(port):
            shop.start("server")
            before = Visitor(shop).buy()
            address = Visitor(shop).get(f"{before}status/").json()["address"]

        # It is gone: buying, pages and callbacks go on.
        began = time.monotonic()
        assert shop.call_back(address) == 200
        assert Visitor(shop).get(f"{before}status/").json()["settlement"] == "paid"
        assert "Paid" in Visitor(shop).get(before).text
        invoice = Visitor(shop).buy()
        assert Visitor(shop).get(invoice).status_code == 200
        address = Visitor(shop).get(f"{invoice}status/").json()["address"]
        assert shop.call_back(address, number=2, status=0) == 200
        assert time.monotonic() - began < SOON_SECONDS

        with redis(port):
            assert shop.call_back(address, number=2) == 200
            assert Visitor(shop).get(f"{invoice}status/").json()["settlement"] == "paid"
            assert len(Visitor(shop).buy()) == len(invoice)
            assert shop.log.read_text().count("goes on without a cache") == 1


@pytest.mark.skipif(not os.environ.get("DATABASE_URL"), reason="it is about PostgreSQL")
def test_postgresql_torn_away_costs_patience_and_nothing_else(tmp_path):
    with postgresql() as server, Shop(tmp_path, DATABASE_URL=server.url, DEBUG="true") as shop:
        invoices = shop.open_invoices(20)
        shop.start("server")
        shop.start("worker")
        assert shop.call_back(invoices[0][0]) == 200

        # It is gone: nobody waits long for the answer that it is.
        server.stop_at_once()
        for address, _ in invoices[1:4]:
            began = time.monotonic()
            assert shop.call_back(address) == 503
            assert time.monotonic() - began < SOON_SECONDS
        assert requests.get(f"http://127.0.0.1:{shop.port}/healthz", timeout=60).status_code == 503

        server.start()
        wait_until(lambda: shop.call_back(invoices[1][0]) == 200, "the server is back")
        wait_until(lambda: requests.get(f"http://127.0.0.1:{shop.port}/healthz", timeout=60).ok)
        paid = "SELECT count(*) FROM payments_invoice WHERE settlement = 'paid'"
        assert shop.ask(paid) == [(2,)]
        # The worker found its way back by itself.
        wait_until(
            lambda: sorted(map(kind, shop.message_ids())) == ["paid", "paid", "sold", "sold"]
        )


def kind(message_id: str) -> str:
    return message_id.strip("<").partition(".")[0]


def test_without_the_worker_the_shop_sells_and_the_mail_waits(tmp_path):
    with Shop(tmp_path) as shop:
        invoices = shop.open_invoices(2)
        shop.start("server")

        assert [shop.call_back(address) for address, _ in invoices] == [200, 200]
        assert shop.ask("SELECT count(*) FROM payments_delivery") == [(2,)]
        assert not shop.mails.exists()

        shop.start("worker")
        wait_until(lambda: len(shop.message_ids()) == 4)


def test_without_the_watcher_nothing_is_heard_and_with_it_all_of_it(tmp_path):
    with Demo(tmp_path) as demo:
        # Nor does reconciliation hear anything.
        demo.control("settings", callbacks="off", faults={"balance": "503", "searchhistory": "503"})
        first, second = demo.buy("singing-bowl"), demo.buy("moonlit-lake")
        with watching(demo):
            pay(demo, first)
            demo.wait_until(first, status=0)

        pay(demo, second)
        demo.control("mine", blocks=2)
        assert demo.status(second)["settlement"] == "waiting"
        assert demo.status(first)["settlement"] == "confirming"

        with watching(demo):
            demo.wait_until(first, settlement="paid")
            demo.wait_until(second, settlement="paid")


def pay(demo, invoice):
    status = demo.status(invoice)
    demo.control("pay", address=status["address"], value=status["due"])


def watching(demo):
    """`manage.py watch_payments` beside the demo."""
    beside = {
        "PORT": str(demo.port),
        "DATA_DIR": str(demo.folder / "data"),
        "DATABASE_URL": demo.database_url,
    }
    return running("watch_payments", **beside)

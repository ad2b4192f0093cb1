"""`make demo`: one process that starts again where it was, and ends cleanly."""

from concurrent.futures import ThreadPoolExecutor
from threading import Event, Semaphore

import pytest
import requests

from tests.live import PATIENCE_SECONDS, Demo

pytestmark = pytest.mark.xdist_group("demo")


def test_it_keeps_its_data_and_ends_cleanly(tmp_path):
    demo = Demo(tmp_path)
    demo.start()
    invoice = demo.buy("singing-bowl")
    status = demo.status(invoice)
    demo.control("pay", address=status["address"], value=status["due"])
    demo.wait_until(invoice, status=0)

    assert demo.stop() == 0
    for line in ("The shop", "The desk", "merchant / merchant", "The sandbox"):
        assert line in demo.output
    assert "Traceback" not in demo.output

    with demo:
        assert demo.status(invoice) == demo.status(invoice) | {"status": 0}
        demo.control("mine", blocks=2)
        demo.wait_until(invoice, settlement="paid")
        catalogue = requests.get(demo.url, timeout=30).text
        assert catalogue.count('class="card"') == 6
        assert "Making" not in demo.output


def test_it_ends_in_the_middle_of_requests(tmp_path):
    demo = Demo(tmp_path)
    demo.start()
    status = f"{demo.url}{demo.buy('singing-bowl')}status/"
    answered, over = Semaphore(0), Event()

    def ask_again_and_again():
        while not over.is_set():
            try:
                requests.get(status, timeout=30)
            except requests.RequestException:
                continue
            answered.release()

    with ThreadPoolExecutor(4) as askers:
        for _ in range(4):
            askers.submit(ask_again_and_again)
        for _ in range(20):
            assert answered.acquire(timeout=30)
        try:
            assert demo.stop() == 0
        finally:
            over.set()
            demo.process.kill()


def test_its_log_holds_no_secret(tmp_path):
    with Demo(tmp_path) as demo:
        invoice = demo.buy("singing-bowl")
        demo.control("pay", address=demo.status(invoice)["address"], value=1_000)
        demo.wait_until(invoice, settlement="underpaid")
        for query in ("secret=demo-callback-secret&addr=x", "secret=a-wrong-secret"):
            requests.get(f"{demo.url}/payments/callback/blockonomics?{query}", timeout=30)

    for secret in ("demo-callback-secret", "demo-api-key", "a-wrong-secret"):
        assert secret not in demo.output


def test_a_taken_port_is_told_before_anything_is_touched(tmp_path):
    with Demo(tmp_path) as demo:
        second = Demo(tmp_path)
        second.port, second.url = demo.port, demo.url

        second.start()

        assert second.process.wait(PATIENCE_SECONDS) != 0
        assert f"Port {demo.port} is taken" in second.output
        assert "The shop" not in second.output
        assert requests.get(f"{demo.url}/healthz", timeout=10).status_code == 200

"""python -m sandbox, from outside: a whole purchase over HTTP and WebSocket."""

import contextlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
from websockets.sync.client import connect

from tests.live import PATIENCE_SECONDS, free_port

PROJECT = Path(__file__).resolve().parents[2]
KEY = "alone"


@pytest.fixture
def merchant():
    """A merchant's server: `url` is its callback URL, `heard` what was called, in order."""
    heard = queue.Queue()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            heard.put(dict(parse_qsl(urlsplit(self.path).query)))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *given):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.heard = heard
        server.url = f"http://127.0.0.1:{server.server_port}/callback?secret=of-the-merchant"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def sandbox(merchant, tmp_path):
    """The running process; `url` is where it listens."""
    port = free_port()
    environment = {
        **{name: value for name, value in os.environ.items() if "SANDBOX" not in name},
        "SANDBOX_DATA_DIR": str(tmp_path / "sandbox"),
        "SANDBOX_BLOCK_SECONDS": "0",
        "PYTHONWARNINGS": "error",
    }
    command = [sys.executable, "-m", "sandbox", "--port", str(port)]
    process = subprocess.Popen(
        [*command, "--api-key", KEY, "--callback-url", merchant.url],
        cwd=PROJECT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    process.url = f"http://127.0.0.1:{port}"
    process.socket_url = f"ws://127.0.0.1:{port}"
    try:
        wait_until_it_answers(process)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        process.wait()
        process.stdout.close()


def wait_until_it_answers(process):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            requests.get(f"{process.url}/api/currencies", timeout=60)
            return
        time.sleep(0.05)
    pytest.fail("python -m sandbox did not start: " + process.stdout.read())


def test_a_whole_purchase(sandbox, merchant):
    address = new_address(sandbox, merchant)
    assert address.startswith("tb1q")
    assert requests.get(f"{sandbox.url}/api/price", timeout=60).json()["price"] > 0

    with connect(f"{sandbox.socket_url}/payment/{address}") as payment_socket:
        txid = control(sandbox, "pay", address=address, value=12345)["txid"]
        seen = [follow(payment_socket, merchant, address, txid)]
        for _ in range(2):
            control(sandbox, "mine", blocks=1)
            seen.append(follow(payment_socket, merchant, address, txid))
    assert seen == [0, 1, 2]

    with ThreadPoolExecutor(10) as crowd:
        addresses = list(crowd.map(lambda _: new_address(sandbox, merchant), range(10)))
    assert len({address, *addresses}) == 11

    assert requests.get(sandbox.url, timeout=60).status_code == 200
    sandbox.send_signal(signal.SIGINT)
    output, _ = sandbox.communicate(timeout=20)
    assert sandbox.returncode == 0
    assert "Traceback" not in output
    assert "destroyed" not in output
    assert merchant.heard.empty()


def new_address(sandbox, merchant):
    response = requests.post(
        f"{sandbox.url}/api/new_address",
        params={"match_callback": merchant.url},
        headers={"Authorization": f"Bearer {KEY}"},
        timeout=60,
    )
    assert response.status_code == 200, response.text
    return response.json()["address"]


def control(sandbox, verb, **body):
    response = requests.post(f"{sandbox.url}/control/{verb}/", json=body, timeout=60)
    assert response.status_code == 200, response.text
    return response.json()


def follow(payment_socket, merchant, address, txid):
    """The status that both doors tell of the payment; they must agree."""
    frame = json.loads(payment_socket.recv(timeout=60))
    callback = merchant.heard.get(timeout=60)
    assert (frame["value"], frame["txid"]) == (12345, txid)
    assert callback == {
        "secret": "of-the-merchant",
        "addr": address,
        "value": "12345",
        "txid": txid,
        "crypto": "BTC",
        "status": str(frame["status"]),
    }
    return frame["status"]


def test_it_does_not_start_with_authorities_that_cannot_be_read(tmp_path):
    environment = {
        **{name: value for name, value in os.environ.items() if "SANDBOX" not in name},
        "SANDBOX_DATA_DIR": str(tmp_path / "sandbox"),
        "SANDBOX_CA_BUNDLE": str(tmp_path / "nothing.pem"),
    }

    result = subprocess.run(
        [sys.executable, "-m", "sandbox", "--port", str(free_port())],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )

    assert result.returncode == 1
    assert "SANDBOX_CA_BUNDLE" in result.stderr
    assert "Traceback" not in result.stderr

"""The shop's real server, and a shop's worth of open invoices, for benchmarks and hard tests."""

import os
import random
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

ROOT = Path(__file__).parent.parent
START_SECONDS = 120
SECRET = "for-benchmarks-only"  # noqa: S105
RATE = Decimal(100_000)
DUE = 10_000


def environment(data_dir: Path, **more) -> dict[str, str]:
    """A real shop's, without sandbox and debugging, on data of its own."""
    return {
        **os.environ,
        "ENV_FILE": ".env.example",
        "DATA_DIR": str(data_dir),
        "DATABASE_URL": "",
        "REDIS_URL": "",
        "SITE_URL": "http://127.0.0.1",
        "DEBUG": "false",
        "STAGING": "true",  # test coins will do
        "SANDBOX": "false",
        "BLOCKONOMICS_URL": "http://127.0.0.1:9",
        "BLOCKONOMICS_CALLBACK_SECRET": SECRET,
        "BLOCKONOMICS_API_KEY": "for-benchmarks-only",
        "SECRET_KEY": "for-benchmarks-only-0123456789-abcdefghijklmnopqrstuvwxyz",
        "EMAIL_URL": "dummymail://",
        "LOG_LEVEL": "WARNING",
        **more,
    }


def free_port() -> int:
    """One below those that the kernel gives to whoever calls out, so that it stays free."""
    while True:
        port = random.randrange(10_000, 32_000)  # noqa: S311
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


@contextmanager
def server(environment: dict[str, str], log: Path, port: int = 0):
    """daphne as in production, on a port of its own choice or this one; yields its port."""
    port = port or free_port()
    command = ["-m", "daphne", "--bind", "127.0.0.1", "--port", str(port), "--verbosity", "0"]
    with log.open("ab") as output:
        process = subprocess.Popen(  # noqa: S603
            [sys.executable, *command, "shop.asgi:application"],
            cwd=ROOT,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_for_port(port)
        yield port
    finally:
        process.terminate()
        process.wait(30)


def wait_for_port(port: int):
    """Until a server listens there."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.01)
    raise TimeoutError(f"Nothing listens on port {port}.")


def open_invoices(count: int, first: int = 0, **fields) -> list:
    """So many invoices as `open_attempts` makes them."""
    return [attempt.invoice for attempt in open_attempts(count, first, **fields)]


def open_attempts(count: int, first: int = 0, database: str = "default", **fields) -> list:
    """Payment attempts of so many invoices over 10 USD, which is 10,000 satoshis, made directly.

    Their addresses are those of one key of the test network, from the index `first` on; `fields`
    are facts of the attempts or, where an attempt has none such, of the invoices.
    """
    from django.utils import timezone
    from embit import bip32, script
    from embit.networks import NETWORKS

    from payments.models import Invoice, PaymentAttempt

    key = bip32.HDKey.from_seed(b"0123456789abcdef").derive("m/84h/1h/0h/0").to_public()
    now = timezone.now()
    facts = {
        "provider": "blockonomics",
        "asset_code": "BTC",
        "asset_decimals": 8,
        "rate": RATE,
        "due": DUE,
        "quoted_at": now,
        "expires_at": now + timedelta(days=1),
    }
    known = {field.name for field in PaymentAttempt._meta.get_fields()}
    facts |= {name: value for name, value in fields.items() if name in known}
    others = {name: value for name, value in fields.items() if name not in known}
    invoices = Invoice.objects.using(database).bulk_create(
        Invoice(currency="USD", total=10, **others) for _ in range(count)
    )
    return PaymentAttempt.objects.using(database).bulk_create(
        PaymentAttempt(
            invoice=invoice,
            reference=script.p2wpkh(key.child(number)).address(NETWORKS["test"]),
            **facts,
        )
        for number, invoice in enumerate(invoices, start=first)
    )

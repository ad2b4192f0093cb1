"""Processes of their own: the demo as a shopper meets it, the sandbox, the shop's services."""

import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing, contextmanager
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import requests
from django.db import connection

from benchmarks.shop import free_port, wait_for_port
from demo.goods import GOODS

ROOT = Path(__file__).parent.parent
# Only what fails waits for so long; a busy machine needs much of it.
PATIENCE_SECONDS = 120


class Demo:
    """`make demo` without make, on a free port, its data in a folder of its own."""

    def __init__(self, folder: Path, *options: str):
        self.folder, self.options = folder, options
        self.database_url = own_database(os.environ.get("DATABASE_URL", ""))
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, *error):
        self.stop()

    def start(self):
        self.log = self.folder / f"log-{uuid.uuid4().hex[:6]}.txt"
        environment = {
            **os.environ,
            "ENV_FILE": ".env.example",
            "PORT": str(self.port),
            "DATA_DIR": str(self.folder / "data"),
            "DATABASE_URL": self.database_url,
            "SANDBOX_BLOCK_SECONDS": "0",
            "LOG_LEVEL": "INFO",
        }
        environment.pop("SITE_URL", None)
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "demo", *self.options],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for_port(self.port)

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(PATIENCE_SECONDS)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def control(self, verb: str, **what) -> dict:
        """One of the sandbox's control verbs."""
        answer = requests.post(
            f"{self.url}/sandbox/control/{verb}/", json=what, timeout=PATIENCE_SECONDS
        )
        answer.raise_for_status()
        return answer.json()

    def buy(self, slug: str) -> str:
        """Buys a product as a program would; returns the path of its invoice."""
        with requests.Session() as visitor:
            page = visitor.get(f"{self.url}/products/{slug}/", timeout=PATIENCE_SECONDS).text
            action = re.search(r'action="(/payments/create/\d+/)"', page)[1]
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
            answer = visitor.post(
                self.url + action,
                data={"csrfmiddlewaretoken": token},
                allow_redirects=False,
                timeout=PATIENCE_SECONDS,
            )
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def status(self, invoice: str) -> dict:
        return requests.get(f"{self.url}{invoice}status/", timeout=PATIENCE_SECONDS).json()

    def wait_until(self, invoice: str, **facts) -> dict:
        """Waits until the status door tells these facts."""
        wait_until(
            lambda: facts.items() <= self.status(invoice).items(), f"the status tells {facts}"
        )
        return self.status(invoice)

    def alter(self, invoice: str, assignments: str, table: str = "payments_invoice"):
        """Has happen to an invoice what would take long, such as time: SQL for its own rows."""
        own = f"(SELECT id FROM payments_invoice WHERE key = {self.mark})"
        own = {
            "payments_invoice": f"id = {own}",
            "payments_transaction": "attempt_id IN "
            f"(SELECT id FROM payments_paymentattempt WHERE invoice_id = {own})",
        }.get(table, f"invoice_id = {own}")
        key = invoice.rstrip("/").rsplit("/", 1)[1]
        self.execute(f"UPDATE {table} SET {assignments} WHERE {own}", key)

    @property
    def mark(self) -> str:
        """What stands for a value in SQL."""
        return "%s" if self.database_url else "?"

    def execute(self, sql: str, *values):
        """Changes rows of the shop's database from outside; some must be changed."""
        if self.database_url:
            with psycopg.connect(self.database_url, autocommit=True) as server:
                rows = server.execute(sql, values).rowcount
        else:
            path = self.folder / "data" / "shop.sqlite3"
            with closing(sqlite3.connect(path, timeout=20)) as file, file:
                rows = file.execute(sql, values).rowcount
        assert rows, f"Nothing was altered: {sql}"

    def let_the_quote_end(self, invoice: str):
        past = "expires_at = quoted_at, quoted_at = created_at"
        self.alter(invoice, past, "payments_paymentattempt")

    def goods(self, name: str) -> bytes:
        """What the demo sells under this name."""
        return next(good.file for good in GOODS if good.file.name == name).read_bytes()


def own_database(url: str) -> str:
    """A new database on the PostgreSQL of the tests; none where there is only SQLite."""
    if not url:
        return ""
    name = f"live_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def database_url() -> str:
    """The database of the running test, for another process."""
    if connection.vendor == "sqlite":
        return f"sqlite:///{connection.settings_dict['NAME']}"
    parts = urlsplit(os.environ["DATABASE_URL"])
    return urlunsplit(parts._replace(path=f"/{connection.settings_dict['NAME']}"))


class Sandbox:
    """`python -m sandbox`, which sends no callbacks; it may be stopped and started again."""

    def __init__(self, folder: Path):
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"

    def start(self):
        environment = {name: text for name, text in os.environ.items() if "SANDBOX" not in name}
        environment["SANDBOX_DATA_DIR"] = str(self.folder)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "sandbox"]
            + ["--port", str(self.port), "--api-key", "demo-api-key", "--block-seconds", "0"],
            cwd=ROOT,
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        wait_for_port(self.port)
        self.control("settings", callbacks="off")

    def stop(self):
        self.process.kill()
        self.process.wait()

    def control(self, verb: str, **what) -> dict:
        answer = requests.post(f"{self.url}/control/{verb}/", json=what, timeout=PATIENCE_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def pay(self, invoice, value=None) -> str:
        return self.control(
            "pay", address=invoice.attempt.reference, value=value or invoice.attempt.due
        )["txid"]


@contextmanager
def running(command: str, *options: str, **environment: str):
    """A real `manage.py` with this command on the test's database, killed in the end.

    What it said and nobody has read is shown if the test fails.
    """
    process = subprocess.Popen(
        [sys.executable, "manage.py", command, *options],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": database_url(), "DATABASE_POOL": "3", **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        if not process.stdout.closed:
            print(process.stdout.read())
            process.stdout.close()


def wait_until(fact, what: str = "what was waited for"):
    """Until the fact is true; nothing is asserted of how long that takes."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not fact():
        assert time.monotonic() < deadline, f"It never came true: {what}"
        time.sleep(0.02)

"""The demo as a shopper meets it: a server in a process of its own, reached over HTTP."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import uuid
from contextlib import closing
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import requests

ROOT = Path(__file__).parent.parent
PATIENCE_SECONDS = 120


class Demo:
    """`make demo` without make, on a free port, its data in a folder of its own."""

    def __init__(self, folder: Path):
        self.folder = folder
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
                [sys.executable, "manage.py", "demo"],
                cwd=ROOT,
                env=environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        wait_for_port(self.port)

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(30)

    @property
    def output(self) -> str:
        return self.log.read_text()

    def control(self, verb: str, **what) -> dict:
        """One of the sandbox's control verbs."""
        answer = requests.post(f"{self.url}/sandbox/control/{verb}/", json=what, timeout=30)
        answer.raise_for_status()
        return answer.json()

    def buy(self, slug: str) -> str:
        """Buys a product as a program would; returns the path of its invoice."""
        with requests.Session() as visitor:
            page = visitor.get(f"{self.url}/products/{slug}/", timeout=30).text
            action = re.search(r'action="(/payments/create/\d+/)"', page)[1]
            token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)[1]
            answer = visitor.post(
                self.url + action,
                data={"csrfmiddlewaretoken": token},
                allow_redirects=False,
                timeout=30,
            )
        assert answer.status_code == 302, answer.text
        return answer.headers["Location"]

    def status(self, invoice: str) -> dict:
        return requests.get(f"{self.url}{invoice}status/", timeout=30).json()

    def wait_until(self, invoice: str, **facts) -> dict:
        """Waits until the status door tells these facts."""
        deadline = time.monotonic() + 15
        while time.monotonic() < deadline:
            status = self.status(invoice)
            if facts.items() <= status.items():
                return status
            time.sleep(0.05)
        raise TimeoutError(f"{status} never came to tell {facts}")

    def alter(self, invoice: str, assignments: str, table: str = "payments_invoice"):
        """Has happen to an invoice what would take long, such as time: SQL for its own rows."""
        column = "id" if table == "payments_invoice" else "invoice_id"
        mark = "%s" if self.database_url else "?"
        sql = (
            f"UPDATE {table} SET {assignments} WHERE {column} ="
            f" (SELECT id FROM payments_invoice WHERE key = {mark})"
        )
        key = invoice.rstrip("/").rsplit("/", 1)[1]
        if self.database_url:
            with psycopg.connect(self.database_url, autocommit=True) as server:
                rows = server.execute(sql, [key]).rowcount
        else:
            path = self.folder / "data" / "shop.sqlite3"
            with closing(sqlite3.connect(path, timeout=20)) as file, file:
                rows = file.execute(sql, [key]).rowcount
        assert rows, f"Nothing was altered: {assignments}"

    def let_the_quote_end(self, invoice: str):
        self.alter(invoice, "expires_at = quoted_at, quoted_at = created_at")

    def goods(self, name: str) -> bytes:
        """The file as it lies in the goods folder."""
        return (self.folder / "data" / "goods" / name).read_bytes()


def own_database(url: str) -> str:
    """A new database on the PostgreSQL of the tests; none where there is only SQLite."""
    if not url:
        return ""
    name = f"live_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait_for_port(port: int, seconds: float = PATIENCE_SECONDS) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)
    raise TimeoutError(f"Nothing listens on port {port} after {seconds} seconds.")

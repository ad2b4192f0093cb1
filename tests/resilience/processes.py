"""The shop's real processes on a real database, to be killed and started again."""

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from contextlib import closing
from email import message_from_bytes
from pathlib import Path

import psycopg
import requests

from benchmarks import shop
from benchmarks.shop import free_port, wait_for_port
from tests.conftest import txid
from tests.live import PATIENCE_SECONDS, ROOT, own_database, wait_until

# A command may have thousands of rows to go through.
COMMAND_SECONDS = 5 * PATIENCE_SECONDS
UNSENT = "SELECT count(*) FROM payments_mail WHERE sent_at IS NULL AND superseded_at IS NULL"
NO_ANSWER = 0


class Shop:
    """The processes of a shop, to be killed and started again."""

    def __init__(self, folder: Path, **environment):
        self.folder, self.mails, self.log = folder, folder / "mails", folder / "log.txt"
        if "DATABASE_URL" not in environment:
            environment["DATABASE_URL"] = own_database(os.environ.get("DATABASE_URL", ""))
        self.port = free_port()
        self.environment = shop.environment(
            folder / "data",
            MERCHANT_EMAIL="merchant@example.com",
            EMAIL_URL=f"file:///{self.mails}",
            TASK_LEASE_SECONDS="2",
            **environment,
        )
        self.database_url = self.environment["DATABASE_URL"]
        self.pids, self.killed = {}, Counter()

    def __enter__(self):
        (self.folder / "data").mkdir()
        with self.log.open("wb") as log:
            self.launcher = subprocess.Popen(
                [sys.executable, "-m", "tests.resilience.launcher"],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.run("migrate", "--verbosity", "0")
        return self

    def __exit__(self, *error):
        for name in list(self.pids):
            self.kill(name)
        self.launcher.stdin.close()
        self.launcher.stdout.close()
        self.launcher.wait(PATIENCE_SECONDS)

    def fork(self, *words) -> int:
        self.launcher.stdin.write(" ".join(words) + "\n")
        self.launcher.stdin.flush()
        return int(self.launcher.stdout.readline())

    def run(self, *words):
        """Runs a command to its end."""
        wait_for_end(self.fork(*words), COMMAND_SECONDS)

    def start(self, name: str):
        if name == "server":
            self.pids[name] = self.fork("daphne", str(self.port))
            wait_for_port(self.port)
        else:
            self.pids[name] = self.fork(name)

    def kill(self, name: str):
        pid = self.pids.pop(name)
        os.kill(pid, signal.SIGKILL)
        self.killed[name] += 1
        wait_for_end(pid)

    def ask(self, sql: str) -> list[tuple]:
        """Asks the database itself, past the shop."""
        if self.database_url:
            with psycopg.connect(self.database_url) as database:
                return database.execute(sql).fetchall()
        with (
            closing(sqlite3.connect(self.folder / "data" / "shop.sqlite3", timeout=20)) as database,
            database,
        ):
            return database.execute(sql).fetchall()

    def finish_the_mail(self):
        """What a worker was about when it died is taken over by the next one, after a while."""

        def is_sent():
            self.run("worker", "--once")
            return self.ask(UNSENT) == [(0,)]

        self.run("worker", "--once")  # there may be thousands
        wait_until(is_sent, "all mail is sent")

    def open_invoices(self, count: int) -> list[tuple]:
        """(address, due) of so many new invoices."""
        self.run("open_invoices", str(count))
        return self.ask("SELECT reference, due FROM payments_paymentattempt ORDER BY id")

    def call_back(self, address: str, number=1, status=2, value=10_000) -> int:
        """What Blockonomics does; returns the status of the answer, NO_ANSWER if there is none."""
        query = {"addr": address, "status": status, "value": value, "txid": txid(number)}
        url = f"http://127.0.0.1:{self.port}/payments/callback/blockonomics"
        try:
            return requests.get(url, {"secret": shop.SECRET, **query}, timeout=60).status_code
        except requests.RequestException:
            return NO_ANSWER

    def message_ids(self) -> list[str]:
        found = []
        for file in self.mails.glob("*"):
            for mail in file.read_bytes().split(b"\n" + b"-" * 79 + b"\n"):
                if mail.strip():
                    found.append(message_from_bytes(mail)["Message-ID"])
        return found


def wait_for_end(pid: int, seconds: float = PATIENCE_SECONDS):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.002)
    raise TimeoutError(f"Process {pid} does not end.")

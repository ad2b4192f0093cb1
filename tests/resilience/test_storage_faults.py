"""A disk that is full or broken, for a while: strace makes the server's system calls fail.

On SQLite alone, whose files the server itself writes.
"""

import os
import shutil
import signal
import subprocess
import time
from contextlib import contextmanager

import pytest

from tests.conftest import txid
from tests.live import PATIENCE_SECONDS
from tests.resilience.processes import Shop

FAULTS = [
    "write,pwrite64:error=ENOSPC",
    "write,pwrite64:error=EIO",
    "pwrite64:error=ENOSPC:when=1+3",
    "fsync,fdatasync:error=EIO",
    "fsync,fdatasync:error=ENOSPC",
    "fsync,fdatasync:error=EIO:when=2+2",
]

VALUE = 1_000

pytestmark = [
    pytest.mark.hard,
    pytest.mark.xdist_group("heavy"),
    pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="it is about SQLite"),
]


@pytest.fixture(scope="session")
def strace():
    """Where strace is; installed if it is not there yet."""
    if not shutil.which("strace"):
        command = ["apt-get", "install", "-y", "--no-install-recommends", "strace"]
        if os.getuid() == 0:
            subprocess.run(["apt-get", "update"], capture_output=True)
            subprocess.run(command, capture_output=True)
    found = shutil.which("strace")
    assert found, "strace is needed to make a disk fail: apt-get install strace"
    return found


@contextmanager
def failing(strace, pid: int, database, fault: str):
    """Makes these calls on the database's files fail in this process, threads included."""
    files = [option for end in ("", "-wal", "-shm") for option in ("-P", f"{database}{end}")]
    calls = fault.partition(":")[0]
    tracer = subprocess.Popen(
        [strace, "-f", "-qq", "-p", str(pid), "-e", f"trace={calls}", "-e", f"inject={fault}"]
        + files,
        stderr=subprocess.PIPE,
    )
    try:
        wait_until_traced(pid, tracer)
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.communicate(timeout=PATIENCE_SECONDS)


def wait_until_traced(pid: int, tracer):
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        with open(f"/proc/{pid}/status") as status:
            if f"TracerPid:\t{tracer.pid}" in status.read():
                return
        assert tracer.poll() is None, tracer.stderr.read().decode()
        time.sleep(0.01)
    raise TimeoutError("strace does not take hold of the server.")


def noted(shop):
    return {txid for (txid,) in shop.ask("SELECT transaction_id FROM payments_transaction")}


def test_a_sick_disk_is_never_answered_with_yes(tmp_path, strace):
    with Shop(tmp_path, DATABASE_URL="") as shop:
        address, due = shop.open_invoices(1)[0]
        database = tmp_path / "data" / "shop.sqlite3"
        shop.start("server")
        number, promised = 0, set()
        assert shop.call_back(address, number, value=VALUE) == 200
        promised.add(txid(0))
        for fault in FAULTS:
            answers = []
            with failing(strace, shop.pids["server"], database, fault):
                for _ in range(6):
                    number += 1
                    answers.append(shop.call_back(address, number, value=VALUE))
                    if answers[-1] == 200:
                        promised.add(txid(number))
            assert set(answers) <= {200, 503}, (fault, answers)
            assert 503 in answers, f"{fault} was not felt: {answers}"
            assert promised <= noted(shop), fault

            # The disk is well again, and so is the shop, at once and without a new start.
            number += 1
            assert shop.call_back(address, number, value=VALUE) == 200, fault
            promised.add(txid(number))

        # Not even a new start finds less than was promised.
        shop.kill("server")
        assert shop.ask("PRAGMA integrity_check") == [("ok",)]
        assert promised <= noted(shop)
        shop.start("server")
        for again in range(number + 1):
            assert shop.call_back(address, again, value=VALUE) == 200
        assert shop.ask("SELECT count(*), sum(amount) FROM payments_transaction") == [
            (number + 1, VALUE * (number + 1))
        ]
        assert shop.ask("SELECT count(*) FROM payments_delivery") == [
            (int(VALUE * (number + 1) >= due),)
        ]

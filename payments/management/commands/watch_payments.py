import asyncio
import contextlib
import os
import signal

from django.core.management.base import BaseCommand

from payments import providers
from payments.watcher import Watcher

LOOK_SECONDS = 1


class Command(BaseCommand):
    help = "Listens to the payment sockets of all open invoices, as a service."

    def add_arguments(self, parser):
        parser.add_argument("--parent", type=int, help="end when this process is gone")

    def handle(self, parent=None, **options):
        asyncio.run(self.watch(parent))
        self.stdout.write("The watcher has ended.")

    async def watch(self, parent):
        watching = asyncio.create_task(Watcher(providers.get("blockonomics")).run())
        loop = asyncio.get_running_loop()
        for each in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(each, watching.cancel)
        leaving = loop.create_task(leave_with(parent, watching))
        with contextlib.suppress(asyncio.CancelledError):
            await watching
        leaving.cancel()


async def leave_with(parent: int | None, watching: asyncio.Task):
    """Ends the watching when the process that wanted it is gone."""
    while parent in (None, os.getppid()):
        await asyncio.sleep(LOOK_SECONDS)
    watching.cancel()

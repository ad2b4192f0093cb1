import asyncio

from django.core.management.base import BaseCommand, CommandError

from payments import providers
from payments.providers.base import PushesBySocket
from payments.watcher import watch


class Command(BaseCommand):
    help = "Listens to the payment sockets of all open invoices, as a service."

    def add_arguments(self, parser):
        parser.add_argument("--parent", type=int, help="end when this process is gone")

    def handle(self, parent=None, **options):
        pushing = [each for each in providers.configured() if isinstance(each, PushesBySocket)]
        if not pushing:
            raise CommandError("No way to pay has sockets, or its settings are missing.")
        asyncio.run(watch(pushing, parent))
        self.stdout.write("The watcher has ended.")

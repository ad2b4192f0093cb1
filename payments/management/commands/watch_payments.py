import asyncio

from django.core.management.base import BaseCommand

from payments import providers
from payments.watcher import Watcher


class Command(BaseCommand):
    help = "Listens to the payment sockets of all open invoices, as a service."

    def handle(self, *args, **options):
        try:
            asyncio.run(Watcher(providers.get("blockonomics")).run())
        except KeyboardInterrupt:
            self.stdout.write("The watcher has ended.")

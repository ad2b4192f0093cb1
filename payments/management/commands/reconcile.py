import time
from datetime import timedelta

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from payments import providers
from payments.models import Callback, Invoice, Turn
from payments.providers.base import ProviderError

ADDRESSES_PER_QUESTION = 100
IDLE_SECONDS = 5


class Command(BaseCommand):
    help = "Holds open invoices against the network's history: finds what callbacks did not tell."

    def add_arguments(self, parser):
        parser.add_argument("--loop", action="store_true", help="go on for ever, as a service")

    def handle(self, loop, **options):
        provider = providers.get("blockonomics")
        while True:
            asked_about = self.pass_through(provider)
            Callback.objects.prune()
            if not loop:
                return
            if not asked_about:
                time.sleep(IDLE_SECONDS)

    def pass_through(self, provider) -> int:
        """One round over all invoices that matter, those with the oldest need first.

        Each batch is one question (what do these addresses hold?); where that differs from the
        books, one more tells the address's history.
        """
        began, count = timezone.now(), 0
        while batch := self.claim_batch(provider, began):
            count += len(batch)
            try:
                self.compare(provider, batch)
            except ProviderError as error:
                self.stderr.write(f"{error}")
                break
        return count

    def claim_batch(self, provider, began):
        """The next invoices, for this process alone; after a crash the next round has them."""
        with Turn.objects.alone("reconcile-batch"):
            batch = list(Invoice.objects.in_need(provider, began)[:ADDRESSES_PER_QUESTION])
            claimed = Invoice.objects.filter(pk__in=[invoice.pk for invoice in batch])
            claimed.update(compared_at=timezone.now())
            return batch

    def compare(self, provider, batch):
        self.wait_for_turn()
        held = provider.received([invoice.reference for invoice in batch])
        for invoice in batch:
            if not invoice.agrees_with(held[invoice.reference]):
                self.wait_for_turn()
                history = provider.look_up(invoice.reference)
                Invoice.objects.compare(provider, invoice, history, by="reconcile")

    def wait_for_turn(self):
        """Blockonomics bans who searches more than twice a minute, whatever the process."""
        pause = timedelta(seconds=settings.BLOCKONOMICS_SEARCH_SECONDS)
        while not Turn.objects.take("blockonomics-search", pause):
            time.sleep(min(1, settings.BLOCKONOMICS_SEARCH_SECONDS / 10))

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from payments import providers
from payments.models import Invoice


class Command(BaseCommand):
    help = "Asks Blockonomics whether this shop is set up rightly; uses up no address."

    def handle(self, *args, **options):
        healthy = True
        for works, finding in providers.get("blockonomics").diagnose(settings.SHOP_CURRENCY):
            self.tell(works, finding)
            healthy = healthy and works
        if healthy:
            healthy = self.look_at_the_gap()
        if not healthy:
            raise CommandError("The shop cannot take payments like this; docs/going-live.md helps.")

    def look_at_the_gap(self) -> bool:
        """Whether wallets still see the next address: they count the unused ones before it."""
        gap_limit = int(providers.get("blockonomics").gap_limit())
        unused = Invoice.objects.unused_in_a_row().count()
        finding = (
            f"{unused} addresses in a row are unpaid; the gap limit at Blockonomics is {gap_limit}."
        )
        if unused >= gap_limit:
            finding += " Raise it there and in your wallet, or the wallet shows no later payment."
        self.tell(unused < gap_limit, finding)
        return unused < gap_limit

    def tell(self, works: bool, finding: str):
        style = self.style.SUCCESS if works else self.style.ERROR
        self.stdout.write(f"{style('ok     ' if works else 'MISSING')} {finding}")

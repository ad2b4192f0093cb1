from datetime import datetime

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from payments import providers
from payments.models import Callback, PaymentAttempt
from payments.providers.base import Diagnoses, LimitsUnusedAddresses, Provider


def last_used(credential: str) -> datetime | None:
    """When a callback last came with it, as far back as the inbox goes."""
    latest = Callback.objects.filter(credential=credential).order_by("-pk").first()
    return latest and timezone.localtime(latest.received_at)


class Command(BaseCommand):
    help = "Asks the payment services whether this shop is set up rightly; uses up no address."

    def handle(self, *args, **options):
        # Each is looked at, whatever the others lack.
        findings = [self.is_healthy(provider) for provider in providers.ways_to_pay()]
        if not all(findings):
            raise CommandError("The shop cannot take payments like this; docs/going-live.md helps.")

    def is_healthy(self, provider: Provider) -> bool:
        healthy = True
        if isinstance(provider, Diagnoses):
            for works, finding in provider.diagnose(settings.SHOP_CURRENCY, last_used):
                self.tell(works, finding)
                healthy = healthy and works
        if healthy and isinstance(provider, LimitsUnusedAddresses):
            healthy = self.look_at_the_gap(provider)
        return healthy

    def look_at_the_gap(self, provider: LimitsUnusedAddresses) -> bool:
        """Whether wallets still see the next address: they count the unused ones before it."""
        gap_limit = int(provider.gap_limit())
        unused = PaymentAttempt.objects.unused_address_count(provider.slug)
        finding = (
            f"{unused} addresses in a row are unpaid; the gap limit at {provider.service} is "
            f"{gap_limit}."
        )
        if unused >= gap_limit:
            finding += " Raise it there and in your wallet, or the wallet shows no later payment."
        self.tell(unused < gap_limit, finding)
        return unused < gap_limit

    def tell(self, works: bool, finding: str):
        style = self.style.SUCCESS if works else self.style.ERROR
        self.stdout.write(f"{style('ok     ' if works else 'MISSING')} {finding}")

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from payments import providers


class Command(BaseCommand):
    help = "Asks Blockonomics whether this shop is set up rightly; uses up no address."

    def handle(self, *args, **options):
        healthy = True
        for works, finding in providers.get("blockonomics").diagnose(settings.SHOP_CURRENCY):
            style = self.style.SUCCESS if works else self.style.ERROR
            self.stdout.write(f"{style('ok     ' if works else 'MISSING')} {finding}")
            healthy = healthy and works
        if not healthy:
            raise CommandError("The shop cannot take payments like this; docs/going-live.md helps.")

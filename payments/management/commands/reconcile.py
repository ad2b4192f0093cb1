from django.core.management.base import BaseCommand

from payments.reconciliation import Ended, Reconciliation


class Command(BaseCommand):
    help = "Holds open invoices against the network's history: finds what callbacks did not tell."

    def add_arguments(self, parser):
        parser.add_argument("--loop", action="store_true", help="go on for ever, as a service")
        parser.add_argument("--parent", type=int, help="end when this process is gone")

    def handle(self, loop, parent=None, **options):
        try:
            Reconciliation(self.stderr.write, parent).run(loop)
        except Ended:
            self.stdout.write("The reconciliation has ended.")

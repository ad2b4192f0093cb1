from django.core.management.base import BaseCommand

from payments.worker import Worker


class Command(BaseCommand):
    help = "Does what is due after a commit: mail, verification. Run one or several, as services."

    def add_arguments(self, parser):
        parser.add_argument("--once", action="store_true", help="end when nothing is due")
        parser.add_argument("--parent", type=int, help="end when this process is gone")

    def handle(self, once, parent, **options):
        if once:
            Worker().work_off()
        else:
            Worker().run(parent)

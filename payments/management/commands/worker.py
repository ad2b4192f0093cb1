import os
import time
from datetime import timedelta

from django.core.management.base import BaseCommand
from django.utils import timezone
from django.utils.crypto import get_random_string
from django_tasks.base import TaskResultStatus
from django_tasks_db.management.commands.db_worker import Worker
from django_tasks_db.models import DBTaskResult

IDLE_SECONDS = 0.5
# Longer than any task of ours takes: a task that runs for longer has lost its worker.
LEASE = timedelta(minutes=2)


class Command(BaseCommand):
    help = "Does what is due after a commit: mail, verification. Run one or several, as services."

    def add_arguments(self, parser):
        parser.add_argument("--once", action="store_true", help="end when nothing is due")
        parser.add_argument("--parent", type=int, help="end when this process is gone")

    def handle(self, once, parent, **options):
        worker = Worker(
            queue_names=["default"],
            interval=0,
            batch=True,
            backend_name="default",
            startup_delay=False,
            max_tasks=None,
            worker_id=get_random_string(32),
            excluded_queue_names=[],
        )
        if not once:
            worker.configure_signals()
        while worker.running and parent in (None, os.getppid()):
            revive_orphans()
            if DBTaskResult.objects.ready().exists():
                worker.run()
            if once:
                return
            time.sleep(IDLE_SECONDS)


def revive_orphans():
    """Makes ready again what a worker was about when it died; tasks bear being run twice."""
    orphans = DBTaskResult.objects.running().filter(started_at__lt=timezone.now() - LEASE)
    orphans.update(status=TaskResultStatus.READY)

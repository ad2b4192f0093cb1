"""The worker: does what the outbox's rows say, one after the other; several of them share it."""

import logging
import os
import signal
import time
from datetime import timedelta
from importlib import import_module
from traceback import format_exception

from django.conf import settings
from django.db import Error as DatabaseTrouble
from django.db import close_old_connections, transaction
from django.utils import timezone
from django.utils.crypto import get_random_string
from django_tasks.base import TaskContext, TaskResultStatus
from django_tasks_db.models import DBTaskResult, get_date_max

from . import notifications, settling, stock, tasks
from .models import BasketLine
from .models.callback import storable

logger = logging.getLogger(__name__)

RETRY_AFTER = [timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3_600, 6 * 3_600)]
IDLE_SECONDS = 0.5
TROUBLE_SECONDS = 2
LOOK_SECONDS = 5
CLEANING_SECONDS = 3_600
CLOCK_SECONDS = 30
ROWS_AT_A_TIME = 1_000


class LostWorker(Exception):
    """The worker that was about it died, or took longer than the lease."""


class Worker:
    """Does the tasks that are due, one after the other; several workers share them.

    A task belongs to one worker for TASK_LEASE. Only who still holds it may write down how it
    ended, so that one who comes too late undoes nothing.
    """

    def __init__(self):
        self.name = get_random_string(32)
        self.running = True
        self.looks_at = self.cleans_at = self.clocks_at = 0.0

    def stop(self, number, frame):
        """Ends after the task at hand; the next signal ends at once, and the lease sees to it."""
        self.running = False
        signal.signal(number, signal.SIG_DFL)

    def run(self, parent: int | None = None):
        """Works until a signal comes, or until the process that wants it is gone."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self.stop)
        while self.running and parent in (None, os.getppid()):
            try:
                if not self.work():
                    time.sleep(IDLE_SECONDS)
            except DatabaseTrouble as error:
                logger.error("The database does not answer the worker: %s", error)
                close_old_connections()
                time.sleep(TROUBLE_SECONDS)

    def work_off(self):
        """Does all that is due, and ends."""
        while self.work():
            pass

    def work(self) -> bool:
        """Does the task that is due first; False if none is."""
        now = time.monotonic()
        if now >= self.looks_at:
            self.take_over_the_lost()
            self.looks_at = now + min(LOOK_SECONDS, settings.TASK_LEASE.total_seconds() / 4)
        if now >= self.cleans_at:
            self.clean_up()
            self.cleans_at = now + CLEANING_SECONDS
        if now >= self.clocks_at:
            self.do_what_time_causes()
            self.clocks_at = now + CLOCK_SECONDS
        task = self.claim()
        if task:
            self.do(task)
        return task is not None

    def do_what_time_causes(self):
        """No event does it but the clock."""
        settling.end_overdue()
        stock.release_overdue()
        notifications.remind()

    def claim(self) -> DBTaskResult | None:
        while task := DBTaskResult.objects.ready().first():
            task.started_at = timezone.now()
            task.worker_ids = [*task.worker_ids, self.name]
            mine = DBTaskResult.objects.filter(pk=task.pk, status=TaskResultStatus.READY)
            if mine.update(
                status=TaskResultStatus.RUNNING,
                started_at=task.started_at,
                worker_ids=task.worker_ids,
            ):
                task.status = TaskResultStatus.RUNNING
                return task
        return None

    def do(self, task: DBTaskResult):
        try:
            work, result = task.task, task.task_result
            about = [TaskContext(task_result=result)] if work.takes_context else []
            work.call(*about, *result.args, **result.kwargs)
        except Exception as error:
            self.put_off(task, error)
        else:
            self.conclude(
                task,
                status=TaskResultStatus.SUCCESSFUL,
                finished_at=timezone.now(),
                exception_class_path="",
                traceback="",
            )

    def take_over_the_lost(self):
        lost = timezone.now() - settings.TASK_LEASE
        for task in DBTaskResult.objects.running().filter(started_at__lt=lost):
            self.put_off(task, LostWorker(f"Worker {task.worker_ids[-1]} was lost."))

    def put_off(self, task: DBTaskResult, error: Exception):
        """Until later, or, after so many attempts, for good; then a person has to look at it."""
        attempts = len(task.worker_ids)
        reason = {
            "exception_class_path": f"{type(error).__module__}.{type(error).__qualname__}",
            "traceback": storable("".join(format_exception(error))),
        }
        if attempts <= len(RETRY_AFTER):
            pause = RETRY_AFTER[attempts - 1]
            later = timezone.now() + (timedelta() if isinstance(error, LostWorker) else pause)
            self.conclude(task, status=TaskResultStatus.READY, run_after=later, **reason)
            return
        with transaction.atomic():
            ended = {"status": TaskResultStatus.FAILED, "finished_at": timezone.now()}
            if self.conclude(task, **ended, **reason):
                logger.error("%s failed for the last time: %s", task.task_path, error)
                tasks.give_up(task.task_path, task.args_kwargs["args"])

    def conclude(self, task: DBTaskResult, **how) -> bool:
        mine = DBTaskResult.objects.running().filter(pk=task.pk, started_at=task.started_at)
        return bool(mine.update(**how))

    def clean_up(self):
        """Forgets what was done longer ago than callbacks are kept; what failed stays.

        Baskets and logins that are over are forgotten as well.
        """
        limit = timezone.now() - timedelta(days=settings.CALLBACK_RETENTION_DAYS)
        done = DBTaskResult.objects.successful().filter(finished_at__lt=limit).order_by()
        while pks := list(done.values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
            DBTaskResult.objects.filter(pk__in=pks).delete()
        BasketLine.objects.forget_old()
        import_module(settings.SESSION_ENGINE).SessionStore.clear_expired()


def try_again(chosen) -> int:
    """Gives those that failed all their attempts anew; returns how many those were."""
    return chosen.failed().update(
        status=TaskResultStatus.READY,
        run_after=get_date_max(),
        worker_ids=[],
        finished_at=None,
    )

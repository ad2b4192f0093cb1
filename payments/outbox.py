"""What has to be done after a commit, as rows of the transaction that makes it necessary.

So a row exists exactly when its cause was committed. `manage.py worker` does what it says: it
calls the task of that path in `payments.tasks`, which this file does not import, since the tasks
use the verbs that write rows here.
"""

from datetime import datetime, timedelta

from django.db import transaction
from django.utils import timezone
from django_tasks.utils import normalize_json
from django_tasks_db.models import DBTaskResult, get_date_max

from .models import Lease

SEND_MAIL = "payments.tasks.send_mail"
ALARM_MERCHANT = "payments.tasks.alarm_merchant"
VERIFY = "payments.tasks.verify"
LOOK_AGAIN = "payments.tasks.look_again"
VERIFY_REFUND = "payments.tasks.verify_refund"
ALLOCATE_BACKORDERS = "payments.tasks.allocate_backorders"

TASKS = [SEND_MAIL, ALARM_MERCHANT, VERIFY, LOOK_AGAIN, VERIFY_REFUND, ALLOCATE_BACKORDERS]

# One mail in this time is alarm enough.
ALARM_PAUSE = timedelta(hours=1)


def enqueue(task_path: str, *args, run_after: datetime | None = None) -> DBTaskResult:
    """Has the task called with these arguments, at once or after that moment."""
    return DBTaskResult.objects.create(
        task_path=task_path,
        args_kwargs=normalize_json({"args": args, "kwargs": {}}),
        run_after=run_after or get_date_max(),
        backend_name="default",
    )


def alarm(text: str):
    """Has the merchant told at once; the moment makes one alarm another one than the last."""
    enqueue(ALARM_MERCHANT, f"{text}\n\n{timezone.localtime():%Y-%m-%d %H:%M:%S %Z}\n")


def alarm_hourly(text: str):
    """Has the merchant told, once an hour: whichever process sees it, and never half."""
    with transaction.atomic():
        if Lease.objects.acquire("alarm", ALARM_PAUSE):
            alarm(text)

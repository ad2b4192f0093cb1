"""What is done after the commit, by a worker: `manage.py worker`.

A task's row is written in the transaction that makes it necessary, so it exists exactly when that
was committed. A task may run twice (a worker may die in the middle), so each asks first whether it
is still needed. Models are imported late: they enqueue these tasks.
"""

import functools
import logging
from datetime import timedelta

from django.conf import settings
from django.core.mail import send_mail as send_plain_mail
from django.utils import timezone
from django_tasks import task

logger = logging.getLogger(__name__)

RETRY_AFTER = [timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3_600, 6 * 3_600)]


def retried(work):
    """Makes a task of a function of one argument, mostly a row's key.

    What fails is tried again, later and later. Each failure stays to be seen among the task
    results; the last one is final.
    """

    @functools.wraps(work)
    def run(pk, attempt=0):
        try:
            work(pk)
        except Exception:
            if attempt < len(RETRY_AFTER):
                later = timezone.now() + RETRY_AFTER[attempt]
                again.using(run_after=later).enqueue(pk, attempt + 1)
            else:
                logger.exception("%s(%s) failed for the last time.", work.__name__, pk)
            raise

    again = task(run)
    return again


@retried
def send_mail(pk):
    from .models import Mail

    Mail.objects.get(pk=pk).send()


@retried
def alarm_merchant(text):
    if settings.MERCHANT_EMAIL:
        send_plain_mail(f"{settings.SHOP_NAME} needs you", text, None, [settings.MERCHANT_EMAIL])


@retried
def verify(pk):
    """Asks the provider about an invoice's payments, where callbacks alone are not enough."""
    from . import providers
    from .models import Invoice

    invoice = Invoice.objects.get(pk=pk)
    provider = providers.get(invoice.provider)
    for payment in invoice.transactions.filter(dropped_at=None):
        if not invoice.waits_for_verification:
            return
        sighting = provider.look_up_transaction(invoice.reference, payment.txid)
        if sighting is None:
            Invoice.objects.doubt(invoice, payment)
        else:
            Invoice.objects.record(provider, sighting, by="verification")
            invoice.refresh_from_db()
    if invoice.waits_for_verification and not invoice.review:
        raise LookupError(f"Order {invoice} is not confirmed independently yet.")

"""What is done after the commit, by a worker: `manage.py worker`.

A task's row is written in the transaction that makes it necessary, so it exists exactly when that
was committed. What fails is tried again on the same row, later and later; the worker sees to that.
A task may run twice (a worker may die in the middle), so each asks first whether it is still
needed. Models are imported late: they enqueue these tasks.
"""

import hashlib
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import timezone
from django_tasks import task

RETRY_AFTER = [timedelta(seconds=seconds) for seconds in (5, 30, 120, 600, 3_600, 6 * 3_600)]
# A provider may know of a transaction a little later than its own callback did.
PATIENT_ATTEMPTS = 2
# A task ends before its lease does; the other payments are asked about the next time.
PAYMENTS_AT_A_TIME = 5


def message_id(name: str) -> str:
    """The same for the same mail, so that one which went out twice is shown once."""
    host = settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">")
    return f"<{name}@{host}>"


@task
def send_mail(pk):
    from .models import Mail

    Mail.objects.get(pk=pk).send()


def alarm(text: str):
    """Has the merchant told at once; the moment makes one alarm another one than the last."""
    alarm_merchant.enqueue(f"{text}\n\n{timezone.now():%Y-%m-%d %H:%M:%S %Z}\n")


@task
def alarm_merchant(text):
    if settings.MERCHANT_EMAIL:
        name = f"alarm.{hashlib.sha256(text.encode()).hexdigest()[:24]}"
        EmailMessage(
            f"{settings.SHOP_NAME} needs you",
            text,
            to=[settings.MERCHANT_EMAIL],
            headers={"Message-ID": message_id(name)},
        ).send()


@task(takes_context=True)
def verify(context, pk):
    """Asks the provider about an invoice's payments, where callbacks alone are not enough.

    Fails, so that it is done again, until somebody but a callback has confirmed them, or until
    they are gone. What the network does not know a person has to look at.
    """
    from . import providers
    from .models import Invoice

    invoice = Invoice.objects.get(pk=pk)
    provider = providers.get(invoice.provider)
    for payment in invoice.unverified[:PAYMENTS_AT_A_TIME]:
        sighting = provider.look_up_transaction(invoice.reference, payment.txid)
        if sighting:
            Invoice.objects.record(provider, sighting, by="verification")
        if context.attempt > PATIENT_ATTEMPTS:
            Invoice.objects.doubt(invoice, payment)
    invoice.refresh_from_db()
    if invoice.waits_for_verification:
        raise LookupError(f"Order {invoice} is not confirmed independently yet.")


@task
def give_back_stock(pk):
    from .models import Invoice

    Invoice.objects.give_back_stock(pk)


@task
def supply(product_id):
    """What one order gave back may be what another one waits for."""
    from .models import Invoice

    Invoice.objects.supply(product_id, by="worker")


def give_up(task_path: str, args: list):
    """Shows at the invoice what was tried often enough; the task itself stays as failed."""
    from .models import Invoice, Mail

    if task_path == send_mail.module_path:
        for mail in Mail.objects.select_related("invoice").filter(pk=args[0]):
            reason = f"the mail “{mail.get_kind_display()}” to {mail.to} could not be sent"
            # Another mail would fare no better.
            Invoice.objects.call_for_review(mail.invoice, reason, by="worker", is_told=True)
    elif task_path == verify.module_path:
        for invoice in Invoice.objects.filter(pk=args[0]):
            reason = "nobody but a callback confirms the payment: look into your wallet"
            Invoice.objects.call_for_review(invoice, reason, by="worker")

"""The tasks that a worker does after the commit; `outbox` has the paths by which they are named.

What fails is tried again on the same row, later and later; the worker sees to that. A task may
run twice (a worker may die in the middle), so each asks first whether it is still needed.
"""

from django_tasks import task

from . import ingestion, notifications, outbox, providers, refunds, review, stock
from .models import Invoice, Mail, PaymentAttempt, Refund
from .providers.base import FindsTransactions

# A provider may know of a transaction a little later than its own callback did.
PATIENT_ATTEMPTS = 2
# A task ends before its lease does; the other payments are asked about the next time.
PAYMENTS_AT_A_TIME = 5


@task
def send_mail(pk):
    notifications.send(Mail.objects.get(pk=pk))


@task
def alarm_merchant(text):
    notifications.send_alarm(text)


@task(takes_context=True)
def verify(context, pk):
    """Asks the provider about an invoice's payments, where callbacks alone are not enough.

    Fails, so that it is done again, until somebody but a callback has confirmed them, or until
    they are gone. What the network does not know a person has to look at.
    """
    invoice = Invoice.objects.get(pk=pk)
    for payment in invoice.unverified_transactions[:PAYMENTS_AT_A_TIME]:
        provider = providers.get(payment.attempt.provider)
        if report := _find(provider, payment):
            ingestion.record_report(provider, report, by="verification")
        if context.attempt > PATIENT_ATTEMPTS:
            ingestion.flag_unverified(invoice, payment)
    if Invoice.objects.get(pk=pk).waits_for_verification:
        raise LookupError(f"Order {invoice} is not confirmed independently yet.")


@task
def look_again(pk):
    """Asks the provider whether it still has what other payments may have replaced."""
    attempt = PaymentAttempt.objects.prefetch_related("transactions").get(pk=pk)
    provider, absent = providers.get(attempt.provider), set()
    for payment in attempt.payments_in_question[:PAYMENTS_AT_A_TIME]:
        if report := _find(provider, payment):
            ingestion.record_report(provider, report, by="verification")
        else:
            absent.add(payment.pk)
    ingestion.mark_missing(attempt, absent, by="verification")


@task
def verify_refund(pk):
    """Asks whether a refund's transaction pays what it should; fails until it does."""
    refund = Refund.objects.select_related("attempt__invoice").get(pk=pk)
    if refund.is_verified:
        return
    sent = refund.transaction_id
    if (refunds.seen_amount(refund, sent) or 0) < refund.amount:
        raise LookupError(f"The network does not show {sent} as {refund} yet.")
    refunds.confirm_sent(refund, sent)


def _find(provider, payment):
    """The payment as the service has it, by one question if it can answer that."""
    reference, transaction_id = payment.attempt.reference, payment.transaction_id
    if isinstance(provider, FindsTransactions):
        return provider.find_transaction(reference, transaction_id)
    reports = provider.look_up(reference)
    return next((each for each in reports if each.transaction_id == transaction_id), None)


@task
def allocate_backorders(product_id):
    """What one order put back may be what another one waits for."""
    stock.allocate_backorders(product_id, by="worker")


def give_up(task_path: str, args: list):
    """Shows at the invoice what was tried often enough; the task itself stays as failed."""
    if task_path == outbox.SEND_MAIL:
        for mail in Mail.objects.select_related("invoice").filter(pk=args[0]):
            reason = f"the mail “{mail.get_kind_display()}” to {mail.to} could not be sent"
            # Another mail would fare no better.
            review.flag_for_review(mail.invoice, reason, by="worker", is_told=True)
    elif task_path == outbox.VERIFY_REFUND:
        for refund in Refund.objects.select_related("invoice", "attempt").filter(pk=args[0]):
            if not refund.is_verified:
                reason = f"the network does not show the refund {refund.transaction_id}"
                review.flag_for_review(refund.invoice, reason, by="worker")
    elif task_path == outbox.VERIFY:
        for invoice in Invoice.objects.filter(pk=args[0]):
            reason = "nobody but a callback confirms the payment: look into your wallet"
            review.flag_for_review(invoice, reason, by="worker")

"""Money that has to go back: orders that are cancelled, and what shoppers ask back.

The books say how much. A person pays it, from the merchant's own wallet: the shop holds no keys.
"""

from contextlib import contextmanager
from dataclasses import dataclass

from django.db import transaction
from django.utils import timezone

from . import live, notifications, outbox, providers, review, settling
from .models import Event, Invoice, Mail, Refund
from .models.invoice import SHOPPER
from .providers.base import FindsTransactions

Kind = Event.Kind
State = Refund.State


class NothingToRefund(Exception):
    """The books know of no money that would have to go back."""


class AlreadyRefunded(Exception):
    """The merchant has recorded the payment: the request is closed."""


class BeingSent(AlreadyRefunded):
    """The merchant sends it just now: nothing about the request may change meanwhile."""


class RefundChanged(Exception):
    """What the merchant was told to send is no longer what the request and the books say."""


@dataclass(frozen=True)
class ShownRefund:
    """What the merchant is told to send, in the smallest unit, and where to.

    `transaction_id` is the one that was recorded before, should it be about a correction.
    """

    destination: str
    amount: int
    transaction_id: str = ""


# Orders that are called off


def cancel(invoice: Invoice, by: str, reason: str = "") -> bool:
    """Cancels the order, so that it is never paid and nothing is delivered.

    False if it is paid: what is paid is delivered. Whoever cancels it last decides whether the
    shopper may reinstate it.
    """
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=invoice.pk)
        if invoice.paid_at:
            return False
        settling.cancel(invoice, by, reason)
    return True


def _reinstate(invoice: Invoice, by: str):
    """Undoes what the shopper cancelled; the facts decide how the order stands now."""
    invoice.cancelled_at, invoice.cancelled_by = None, ""
    invoice.save(update_fields=["cancelled_at", "cancelled_by"])
    settling.settle(invoice, timezone.now(), by)


# What the shopper asks


def request_refund(invoice: Invoice, destination: str, note: str = "", by: str = SHOPPER) -> Refund:
    """Puts down where the shopper wants the money, or corrects it; one request per attempt.

    An order that was never covered is cancelled by it, so that what is promised back is not
    counted as payment. Raises NothingToRefund, BeingSent or AlreadyRefunded.
    """
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=invoice.pk)
        attempt = invoice.attempt
        refund = attempt.refunds.first() or Refund(
            invoice=invoice, attempt=attempt, state=State.WITHDRAWN
        )
        _refuse_if_sent(refund)
        is_new, amount = refund.is_withdrawn, attempt.refundable
        if not is_new and (refund.destination, refund.note) == (destination, note):
            return refund
        if is_new and not amount:
            raise NothingToRefund
        if is_new:
            refund.requested_at = timezone.now()
        refund.state, refund.withdrawn_at = State.REQUESTED, None
        refund.requested_amount = amount or refund.requested_amount
        refund.destination, refund.note = destination, note
        refund.save()
        invoice.log(Kind.REFUND_REQUESTED, by, refund.in_words(amount))
        if not invoice.paid_at and not invoice.cancelled_at:
            settling.cancel(invoice, SHOPPER, "the shopper asks for the money back", by)
        # One mail for a flurry of requests and withdrawals.
        key = f"request-{refund.requested_at:%Y%m%d%H}"
        notifications.notify(invoice, Mail.Kind.REFUND_REQUESTED, dedupe_key=key)
        live.announce_after_commit(invoice)
    return refund


def withdraw_request(invoice: Invoice, by: str = SHOPPER):
    """The shopper would rather pay the rest, or keep it so. Raises BeingSent, AlreadyRefunded.

    The row stays, with what was asked last: the merchant may have sent the money a moment ago
    without having said so, and can still record it.
    """
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=invoice.pk)
        refund = invoice.attempt.refund
        if refund is None:
            return
        _refuse_if_sent(refund)
        refund.requested_amount = invoice.attempt.refundable or refund.requested_amount
        refund.state, refund.withdrawn_at = State.WITHDRAWN, timezone.now()
        refund.save(update_fields=["requested_amount", "state", "withdrawn_at", "changed_at"])
        invoice.log(Kind.REFUND_WITHDRAWN, by)
        if invoice.is_cancelled_by_shopper:
            _reinstate(invoice, by)
        live.announce_after_commit(invoice)


def _refuse_if_sent(refund: Refund):
    """For what the shopper may no longer do once the money is on its way."""
    if refund.is_sent:
        raise AlreadyRefunded
    if refund.is_being_sent:
        raise BeingSent


# What the merchant does


def begin_sending(refund: Refund, shown: ShownRefund, by: str):
    """The merchant is about to send it: from now on the shopper changes nothing about it.

    Nor do they reinstate what they cancelled: otherwise they could withdraw the request while
    the money is on its way, and pay no more than the rest. Raises RefundChanged,
    AlreadyRefunded, or BeingSent if somebody of the staff was quicker.
    """
    with _locked(refund) as (invoice, refund):
        _refuse_if_sent(refund)
        now = ShownRefund(refund.destination, refund.attempt.refundable)
        if refund.is_withdrawn or shown != now or not now.amount:
            raise RefundChanged
        refund.state, refund.sending_at = State.SENDING, timezone.now()
        refund.requested_amount = now.amount
        refund.save(update_fields=["requested_amount", "state", "sending_at", "changed_at"])
        if invoice.is_cancelled_by_shopper:
            invoice.cancelled_by = by[:160]
            invoice.save(update_fields=["cancelled_by"])
        invoice.log(Kind.REFUND_SENDING, by, refund.in_words(now.amount))


def stop_sending(refund: Refund, by: str):
    """The merchant has not sent it after all: the shopper may correct or withdraw it again."""
    with _locked(refund) as (invoice, refund):
        if not refund.is_being_sent:
            return
        refund.state, refund.sending_at = State.REQUESTED, None
        refund.save(update_fields=["state", "sending_at", "changed_at"])
        invoice.log(Kind.STAFF_ACTION, by, "the refund was not sent after all")


def record_sent(refund: Refund, transaction_id: str, shown: ShownRefund, by: str):
    """Puts down that the merchant has sent the money back; the shopper is told once it is seen.

    `shown` is what the merchant was told to send, and so has sent, whatever the shopper or the
    network have changed meanwhile; a difference is left to a person. A transaction that nobody
    has seen yet may be corrected. Raises AlreadyRefunded.
    """
    with _locked(refund) as (invoice, refund):
        if refund.is_sent:
            _correct(invoice, refund, transaction_id, shown, by)
            return
        now = ShownRefund(refund.destination, refund.attempt.refundable)
        is_odd = refund.is_withdrawn or shown != now
        refund.destination, refund.amount = shown.destination, shown.amount
        refund.transaction_id, refund.withdrawn_at = transaction_id, None
        refund.state, refund.sent_at, refund.sent_by = State.SENT, timezone.now(), by[:160]
        refund.save()
        invoice.log(Kind.REFUNDED, by, f"{transaction_id}, {refund.in_words(refund.amount)}")
        if not invoice.paid_at and not invoice.cancelled_at:
            settling.cancel(invoice, by, "the money was sent back")
        if is_odd:
            reason = "the request or the payments changed while the refund was sent"
            review.flag_for_review(invoice, reason, by)
        outbox.enqueue(outbox.VERIFY_REFUND, refund.pk)


def _correct(invoice: Invoice, refund: Refund, transaction_id: str, shown: ShownRefund, by: str):
    """Only who saw what was recorded corrects it: somebody else may have sent it as well."""
    was = refund.transaction_id
    if refund.is_verified or shown.transaction_id != was or transaction_id == was:
        raise AlreadyRefunded
    note = f"corrected the refund's transaction: {transaction_id}, not {was}"
    refund.transaction_id = transaction_id
    refund.save(update_fields=["transaction_id", "changed_at"])
    invoice.log(Kind.STAFF_ACTION, by, note)
    outbox.enqueue(outbox.VERIFY_REFUND, refund.pk)


# What the network says of it


def seen_amount(refund: Refund, transaction_id: str) -> int | None:
    """What that transaction pays to where the refund goes; None if the network knows of nothing.

    Without a service that could be asked, the merchant's word is enough. Raises ProviderError.
    """
    provider = providers.get(refund.attempt.provider)
    if not isinstance(provider, FindsTransactions):
        return refund.current_amount
    report = provider.find_transaction(refund.destination, transaction_id)
    return report and report.amount


def confirm_sent(refund: Refund, transaction_id: str):
    """Its transaction was seen: now the shopper is told that the money is on its way."""
    with _locked(refund) as (invoice, refund):
        if refund.is_verified or refund.transaction_id != transaction_id:
            return
        refund.verified_at = timezone.now()
        refund.save(update_fields=["verified_at", "changed_at"])
        invoice.log(Kind.VERIFIED, "verification", f"refund {transaction_id}")
        notifications.notify(invoice, Mail.Kind.REFUNDED)


@contextmanager
def _locked(refund: Refund):
    """The invoice first, as everywhere, then its refund; open pages hear of it afterwards."""
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=refund.invoice_id)
        row = Refund.objects.select_for_update().get(pk=refund.pk)
        row.attempt = next(each for each in invoice.attempts.all() if each.pk == row.attempt_id)
        yield invoice, row
        live.announce_after_commit(invoice)

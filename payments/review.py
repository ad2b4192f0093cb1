"""What is odd about an invoice: a person has to look at it, and is told."""

from django.db import transaction

from . import live, notifications
from .models import Event, Invoice, Mail


def flag_for_review(invoice: Invoice, reason: str, by: str, is_told: bool = False):
    """Asks a person to look at the invoice: its timeline says why, and both sides are mailed.

    `is_told`: another mail would tell nobody anything new.
    """
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=invoice.pk)
        if reason not in invoice.review:
            invoice.log(Event.Kind.REVIEW, by, reason)
            ask_for_review(invoice, reason, is_told)
            live.announce_after_commit(invoice)


def ask_for_review(invoice: Invoice, reason: str, is_told: bool = False):
    """Notes the reason at a locked invoice; people are told once until they have looked."""
    if reason in invoice.review:
        return
    is_told = is_told or bool(invoice.review)
    invoice.review = "; ".join(filter(None, [invoice.review, reason]))[:300]
    invoice.save(update_fields=["review"])
    if is_told:
        return
    notifications.notify(invoice, Mail.Kind.ALARM)
    if not invoice.paid_at:
        notifications.notify(invoice, Mail.Kind.REVIEW)


def mark_as_reviewed(invoice: Invoice, by: str):
    """A person has looked at it; what has turned up since they looked stays."""
    with transaction.atomic():
        seen = Invoice.objects.filter(pk=invoice.pk, review=invoice.review).exclude(review="")
        if seen.update(review=""):
            invoice.log(Event.Kind.STAFF_ACTION, by, f"reviewed: {invoice.review}")
            live.announce_after_commit(invoice)

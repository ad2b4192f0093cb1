"""How an invoice is settled: the one place that writes what its facts amount to."""

from datetime import datetime

from django.db import transaction
from django.utils import timezone

from . import live, notifications, stock
from .models import Delivery, Event, Invoice, Mail
from .models.invoice import TIME
from .settlement import Settlement

Kind = Event.Kind

ORDERS_AT_A_TIME = 100


def cancel(invoice: Invoice, by: str, reason: str = "", done_by: str = ""):
    """Cancels an order that is not paid, so that it never is and nothing is delivered.

    Whoever cancels it last decides whether the shopper may reinstate it. `done_by` has it done
    in their name.
    """
    invoice.cancelled_at = invoice.cancelled_at or timezone.now()
    invoice.cancelled_by = by[:160]
    invoice.save(update_fields=["cancelled_at", "cancelled_by"])
    invoice.log(Kind.CANCELLED, done_by or by, reason)
    settle(invoice, timezone.now(), done_by or by)
    live.announce_after_commit(invoice)


def settle(invoice: Invoice, at: datetime, by: str):
    """Draws the conclusion from the facts. Paid is final, and causes the delivery once."""
    before, was_overpaid = invoice.settlement, invoice.is_overpaid
    if invoice.paid_at is None:
        settlement = invoice.settlement_at(at)
        if settlement == Settlement.EXPIRED:
            settlement = Settlement.WAITING  # time decides that one, not a column
        invoice.settlement = settlement.value
        if settlement == Settlement.PAID:
            invoice.paid_at = at
            Delivery.objects.create(invoice=invoice, made_at=at)
    paid = invoice.attempts.all() if invoice.paid_at else []
    invoice.is_overpaid = any(attempt.is_overpaid for attempt in paid)
    invoice.save(update_fields=["settlement", "paid_at", "is_overpaid", "updated_at"])
    stock.follow_settlement(invoice, before, by)
    _tell_of_settlement(invoice, before, by)
    if before == Settlement.PAID and invoice.is_overpaid > was_overpaid:
        notifications.notify(invoice, Mail.Kind.OVERPAID)


def _tell_of_settlement(invoice: Invoice, before: str, by: str):
    """Timeline, basket and mail follow a settlement that has changed."""
    if before == invoice.settlement or invoice.settlement == Settlement.CANCELLED:
        return
    if invoice.settlement in (Settlement.CONFIRMING, Settlement.PAID):
        invoice.basket_lines.all().delete()
    if invoice.settlement == Settlement.PAID:
        invoice.log(Kind.PAID_LATE if invoice.has_late else Kind.PAID, by)
        notifications.notify(invoice, Mail.Kind.PAID, Mail.Kind.SOLD)
    elif invoice.settlement == Settlement.CONFIRMING:
        invoice.log(Kind.COVERED, by)
    elif before == Settlement.CONFIRMING:
        invoice.log(Kind.UNCOVERED, by)
        notifications.notify(invoice, Mail.Kind.UNCOVERED, Mail.Kind.ALARM)


# What time and changed rules cause


def end(invoice: Invoice):
    cancel(invoice, TIME, "not paid in time")


def end_overdue():
    """Ends the orders that were not covered in their time: nothing is promised for ever."""
    for pk in list(Invoice.objects.overdue().values_list("pk", flat=True)[:ORDERS_AT_A_TIME]):
        with transaction.atomic():
            invoice = Invoice.objects.locked().get(pk=pk)
            if Invoice.objects.overdue().filter(pk=pk).exists():
                end(invoice)


def resettle(by: str) -> int:
    """Settles what a changed rule of money settles otherwise; returns how many those were."""
    changed, now = 0, timezone.now()
    for seen in Invoice.objects.to_resettle():
        if seen.settlement_at(now) != seen.settlement:
            with transaction.atomic():
                invoice = Invoice.objects.locked().get(pk=seen.pk)
                before = invoice.settlement
                settle(invoice, now, by)
                changed += invoice.settlement != before
                live.announce_after_commit(invoice)
    return changed

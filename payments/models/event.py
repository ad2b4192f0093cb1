from django.db import models
from django.utils import timezone

NOTE_LENGTH = 300


class EventQuerySet(models.QuerySet):
    """Reads and adds, no more: Django's ways to change many rows at once end here as well."""

    def bulk_create(self, objs, *args, update_conflicts=False, **kwargs):
        if update_conflicts:
            raise TypeError("The timeline is append-only.")
        return super().bulk_create(objs, *args, **kwargs)

    def update(self, **values):
        raise TypeError("The timeline is append-only.")

    def delete(self):
        raise TypeError("The timeline is append-only.")

    def _raw_delete(self, using):
        raise TypeError("The timeline is append-only.")


class Event(models.Model):
    """One line of an invoice's timeline: when, what, by whom. It is written once, never changed.

    It is written in the same database transaction as the change that it tells.
    """

    class Kind(models.TextChoices):
        CREATED = "created", "Created"
        QUOTED = "quoted", "Quoted anew"
        SEEN = "seen", "Payment seen"
        CONFIRMED = "confirmed", "Payment confirmed"
        VERIFIED = "verified", "Payment verified independently"
        VALUED = "valued", "Payment valued"
        COVERED = "covered", "Covered by what was seen"
        UNCOVERED = "uncovered", "No longer covered"
        PAID = "paid", "Paid"
        PAID_LATE = "paid-late", "Paid, although late"
        MISSED = "missed", "Payment not found on the network"
        DROPPED = "dropped", "Payment gone from the network"
        RETURNED = "returned", "Payment back on the network"
        REVIEW = "review", "Needs review"
        STOCK_RELEASED = "stock-released", "Goods back in stock"
        CANCELLED = "cancelled", "Cancelled"
        REFUND_REQUESTED = "refund-requested", "Refund requested"
        REFUND_WITHDRAWN = "refund-withdrawn", "Refund request withdrawn"
        REFUND_SENDING = "refund-sending", "Refund being sent"
        REFUNDED = "refunded", "Refunded"
        MAILED = "mailed", "Mailed"
        DOWNLOADED = "downloaded", "Downloaded"
        STAFF_ACTION = "staff-action", "Staff action"

    invoice = models.ForeignKey("Invoice", on_delete=models.PROTECT, related_name="timeline")
    at = models.DateTimeField(default=timezone.now)
    kind = models.CharField(max_length=20, choices=Kind)
    by = models.CharField(max_length=160)
    note = models.CharField(max_length=NOTE_LENGTH, blank=True)

    objects = EventQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]

    def __str__(self):
        return f"{self.get_kind_display()}, by {self.by}"

    def save(self, *args, **kwargs):
        if self.pk is not None:  # the database numbers new lines
            raise TypeError("The timeline is append-only.")
        super().save(*args, **kwargs)

    def delete(self, *args, **kwargs):
        raise TypeError("The timeline is append-only.")

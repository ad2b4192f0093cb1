from datetime import timedelta

from django.conf import settings
from django.db import models
from django.utils import timezone

from payments.providers.base import AuthenticCallback, TransactionReport

from .invoice import Invoice

NOTE_LENGTH = 300
ROWS_AT_A_TIME = 1_000


def storable(text: str) -> str:
    """The text as a database takes it: PostgreSQL knows no NUL, neither knows halves of letters."""
    return text.encode(errors="replace").decode().replace("\0", "")


class CallbackManager(models.Manager):
    def prune(self) -> int:
        """Forgets what is older than CALLBACK_RETENTION_DAYS; returns how many those were.

        A batch at a time, so that no callback waits long for the database.
        """
        limit = timezone.now() - timedelta(days=settings.CALLBACK_RETENTION_DAYS)
        old, count = self.filter(received_at__lt=limit).order_by("received_at"), 0
        while pks := list(old.values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
            count += self.filter(pk__in=pks).delete()[0]
        return count


class Callback(models.Model):
    """The inbox: whatever arrived from a sender who proved it, and what became of it."""

    class Outcome(models.TextChoices):
        RECEIVED = "received", "Received, not judged yet"
        RECORDED = "recorded", "Recorded"
        KNOWN = "known", "Already known"
        UNKNOWN_REFERENCE = "unknown", "No invoice has this reference"
        NOT_APPLICABLE = "not-applicable", "Says nothing about a payment"
        MALFORMED = "malformed", "Malformed"
        FAILED = "failed", "Failed in the shop"

    provider = models.CharField(max_length=30)
    received_at = models.DateTimeField(auto_now_add=True)
    # Percent-encoded as it came, without the secret: plain ASCII, whatever the sender wrote.
    query = models.TextField(blank=True)
    body = models.TextField(blank=True)
    invoice = models.ForeignKey(
        Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="callbacks"
    )
    outcome = models.CharField(max_length=20, choices=Outcome, default=Outcome.RECEIVED)
    note = models.CharField(max_length=NOTE_LENGTH, blank=True)
    # What it says of a payment, as far as it could be understood.
    credential = models.CharField(
        max_length=16, blank=True, help_text="A mark of the secret that it came with."
    )
    reference = models.CharField(max_length=255, blank=True)
    amount = models.BigIntegerField(null=True, blank=True, help_text="In the smallest unit.")
    transaction_id = models.CharField("transaction id", max_length=255, blank=True)
    remark = models.CharField(
        max_length=NOTE_LENGTH, blank=True, help_text="What somebody of the staff found out."
    )

    objects = CallbackManager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["outcome", "-id"], name="callbacks_by_outcome"),
            models.Index(fields=["received_at"], name="callbacks_by_age"),
            models.Index(fields=["provider", "reference"], name="callbacks_by_reference"),
        ]

    def __str__(self):
        return f"{self.provider} callback, {self.get_outcome_display().lower()}"

    @property
    def content(self) -> AuthenticCallback:
        """What came, for a provider to parse once more."""
        return AuthenticCallback(self.query, self.body)

    def conclude(
        self,
        outcome: str,
        invoice: Invoice | None = None,
        note: str = "",
        report: TransactionReport | None = None,
    ):
        """Writes down what became of it, and what it said: of several reports, the last."""
        self.outcome, self.invoice = outcome, invoice
        self.note = storable(note)[:NOTE_LENGTH]
        if report:
            self.reference, self.amount = report.reference, report.amount
            self.transaction_id = report.transaction_id
        told = ["reference", "amount", "transaction_id"] if report else []
        self.save(update_fields=["outcome", "invoice", "note", *told])

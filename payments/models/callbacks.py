from datetime import timedelta

from django.conf import settings
from django.core.exceptions import BadRequest
from django.db import models
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from payments.providers.base import NotApplicable, Provider, Sighting

from .invoices import Invoice
from .timeline import Event

NOTE_LENGTH = 300


def tidy(note: str) -> str:
    """A note as a database takes it: PostgreSQL knows no NUL."""
    return note.replace("\0", "")[:NOTE_LENGTH]


class CallbackManager(models.Manager):
    def receive(self, provider: Provider, request: HttpRequest) -> list[Sighting]:
        """Stores what arrived with the right secret, then brings it into the books.

        Raises PermissionDenied (nothing is stored), BadRequest (stored as malformed), or whatever
        went wrong here (stored as failed, if the database still can).
        """
        try:
            sightings = provider.read_callback(request)
        except BadRequest as error:
            self._keep(provider, request, Callback.Outcome.MALFORMED, str(error))
            raise
        except NotApplicable as reason:
            self._keep(provider, request, Callback.Outcome.NOT_APPLICABLE, str(reason))
            return []
        callback = self._keep(provider, request, Callback.Outcome.RECEIVED)
        try:
            for sighting in sightings:
                callback.process(provider, sighting)
        except Exception as error:
            callback.conclude(Callback.Outcome.FAILED, note=f"{type(error).__name__}: {error}")
            raise
        return sightings

    def prune(self) -> int:
        """Forgets what is older than CALLBACK_RETENTION_DAYS; returns how many those were."""
        limit = timezone.now() - timedelta(days=settings.CALLBACK_RETENTION_DAYS)
        return self.filter(received_at__lt=limit).delete()[0]

    def _keep(self, provider, request, outcome, note="") -> "Callback":
        return self.create(
            provider=provider.slug,
            query=provider.redact(request),
            outcome=outcome,
            note=tidy(note),
        )


class Callback(models.Model):
    """The inbox: whatever arrived with the right secret, and what became of it."""

    class Outcome(models.TextChoices):
        RECEIVED = "received", "Received, not judged yet"
        RECORDED = "recorded", "Recorded"
        KNOWN = "known", "Already known"
        UNKNOWN_INVOICE = "unknown", "No invoice has this address"
        NOT_APPLICABLE = "not-applicable", "Says nothing about a bitcoin payment"
        MALFORMED = "malformed", "Malformed"
        FAILED = "failed", "Failed in the shop"

    provider = models.CharField(max_length=30)
    received_at = models.DateTimeField(auto_now_add=True)
    # Percent-encoded as it came, without the secret: plain ASCII, whatever the sender wrote.
    query = models.TextField()
    invoice = models.ForeignKey(
        Invoice, null=True, blank=True, on_delete=models.PROTECT, related_name="callbacks"
    )
    outcome = models.CharField(max_length=20, choices=Outcome)
    note = models.CharField(max_length=NOTE_LENGTH, blank=True)

    objects = CallbackManager()

    class Meta:
        ordering = ["-pk"]
        indexes = [
            models.Index(fields=["outcome", "-id"], name="callbacks_by_outcome"),
            models.Index(fields=["received_at"], name="callbacks_by_age"),
        ]

    def __str__(self):
        return f"{self.provider} callback, {self.get_outcome_display().lower()}"

    def process(self, provider: Provider, sighting: Sighting):
        """Brings the sighting into the books and notes here what became of it."""
        recorded = Invoice.objects.record(provider, sighting)
        if recorded.invoice is None:
            outcome = self.Outcome.UNKNOWN_INVOICE
        else:
            outcome = self.Outcome.RECORDED if recorded.news else self.Outcome.KNOWN
        self.conclude(outcome, recorded.invoice)

    def process_again(self, provider: Provider, by: str):
        """Judges once more what is kept here, say after a fault was mended; raises what went wrong.

        Whatever was in the books already stays as it is.
        """
        try:
            for sighting in provider.read_again(QueryDict(self.query)):
                self.process(provider, sighting)
        except (BadRequest, NotApplicable):
            return  # it says no more than it did
        except Exception as error:
            self.conclude(self.Outcome.FAILED, note=f"{type(error).__name__}: {error}")
            raise
        if self.invoice:
            self.invoice.log(Event.Kind.TOUCHED, by, f"callback {self.pk} processed again")

    def conclude(self, outcome: Outcome, invoice: Invoice | None = None, note: str = ""):
        self.outcome, self.invoice, self.note = outcome, invoice, tidy(note)
        self.save(update_fields=["outcome", "invoice", "note"])

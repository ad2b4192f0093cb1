from datetime import timedelta

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import models
from django.http import HttpRequest, QueryDict
from django.utils import timezone

from payments.providers.base import NotApplicable, Provider, Sighting

from .invoices import Invoice, Recorded

NOTE_LENGTH = 300
ROWS_AT_A_TIME = 1_000


def storable(text: str) -> str:
    """As a database takes it: PostgreSQL knows no NUL, and neither knows halves of letters."""
    return text.encode(errors="replace").decode().replace("\0", "")


def tidy(note: str) -> str:
    return storable(note)[:NOTE_LENGTH]


def in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


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
        except (PermissionDenied, SuspiciousOperation):
            raise  # it does not prove where it comes from
        except Exception as error:
            self._keep(provider, request, Callback.Outcome.FAILED, in_words(error))
            raise
        callback = self._keep(provider, request, Callback.Outcome.RECEIVED)
        try:
            for sighting in sightings:
                callback.process(provider, sighting)
        except Exception as error:
            callback.conclude(Callback.Outcome.FAILED, note=in_words(error))
            raise
        return sightings

    def prune(self) -> int:
        """Forgets what is older than CALLBACK_RETENTION_DAYS; returns how many those were.

        A batch at a time, so that no callback waits long for the database.
        """
        limit = timezone.now() - timedelta(days=settings.CALLBACK_RETENTION_DAYS)
        old, count = self.filter(received_at__lt=limit).order_by("received_at"), 0
        while pks := list(old.values_list("pk", flat=True)[:ROWS_AT_A_TIME]):
            count += self.filter(pk__in=pks).delete()[0]
        return count

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

    def process(self, provider: Provider, sighting: Sighting, by: str = "callback"):
        """Brings the sighting into the books and notes here what became of it.

        However late it is judged, the payment counts as seen when the callback came.
        """
        Invoice.objects.record(
            provider, sighting, by, heard_at=self.received_at, then=self.conclude_as
        )

    def conclude_as(self, recorded: Recorded):
        if recorded.invoice is None:
            outcome = self.Outcome.UNKNOWN_INVOICE
        else:
            outcome = self.Outcome.RECORDED if recorded.news else self.Outcome.KNOWN
        self.conclude(outcome, recorded.invoice)

    def process_again(self, provider: Provider, by: str):
        """Judges once more what is kept here, say after a fault was mended; raises what went wrong.

        Whatever was in the books already stays as it is. What it changes has in the timeline who
        asked for it.
        """
        try:
            for sighting in provider.read_again(QueryDict(self.query)):
                self.process(provider, sighting, f"{by}, callback {self.pk} processed again")
        except BadRequest as error:
            self.conclude(self.Outcome.MALFORMED, note=str(error))
        except NotApplicable as reason:
            self.conclude(self.Outcome.NOT_APPLICABLE, note=str(reason))
        except Exception as error:
            self.conclude(self.Outcome.FAILED, self.invoice, in_words(error))
            raise

    def conclude(self, outcome: Outcome, invoice: Invoice | None = None, note: str = ""):
        self.outcome, self.invoice, self.note = outcome, invoice, tidy(note)
        self.save(update_fields=["outcome", "invoice", "note"])

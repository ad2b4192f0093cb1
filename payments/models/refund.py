from django.db import models
from django.utils import timezone

from .attempt import PaymentAttempt

DESTINATION_LENGTH = 100
REFUND_NOTE_LENGTH = 500


class RefundQuerySet(models.QuerySet):
    def requested(self):
        """Those that a merchant has to do something about."""
        return self.filter(state__in=[Refund.State.REQUESTED, Refund.State.SENDING])

    def sent(self):
        return self.filter(state=Refund.State.SENT)

    def verified(self):
        return self.filter(verified_at__isnull=False)

    def withdrawn(self):
        return self.filter(state=Refund.State.WITHDRAWN)


class Refund(models.Model):
    """Money that goes back the way it came; one per attempt, to be corrected until it is sent.

    The amount is never typed: until the merchant sends it, it is the attempt's `refundable`.
    """

    class State(models.TextChoices):
        REQUESTED = "requested", "To be paid"
        SENDING = "sending", "Being sent"
        SENT = "sent", "Paid"
        WITHDRAWN = "withdrawn", "Taken back"

    invoice = models.ForeignKey("Invoice", on_delete=models.PROTECT, related_name="refunds")
    attempt = models.ForeignKey(PaymentAttempt, on_delete=models.PROTECT, related_name="refunds")
    state = models.CharField(max_length=10, choices=State, default=State.REQUESTED)
    destination = models.CharField("to", max_length=DESTINATION_LENGTH, blank=True)
    note = models.CharField(max_length=REFUND_NOTE_LENGTH, blank=True)
    requested_amount = models.BigIntegerField(
        default=0, help_text="In the smallest unit, as it was when the request last changed."
    )
    requested_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(auto_now=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    sending_at = models.DateTimeField(null=True, blank=True)

    amount = models.BigIntegerField(
        null=True, blank=True, help_text="What was sent, in the smallest unit."
    )
    transaction_id = models.CharField("transaction id", max_length=255, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    sent_by = models.CharField(max_length=160, blank=True)
    verified_at = models.DateTimeField(
        "seen on the network", null=True, blank=True, help_text="Empty: nobody but staff says so."
    )

    objects = RefundQuerySet.as_manager()

    class Meta:
        ordering = ["requested_at", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["attempt"], name="one_refund_per_attempt"),
            models.CheckConstraint(
                condition=~models.Q(state="sent")
                & models.Q(amount__isnull=True, transaction_id="", sent_at__isnull=True, sent_by="")
                | models.Q(state="sent", amount__gt=0, sent_at__isnull=False)
                & ~models.Q(transaction_id="")
                & ~models.Q(sent_by=""),
                name="sent_wholly_or_not_at_all",
            ),
            models.CheckConstraint(
                condition=models.Q(verified_at__isnull=True) | models.Q(state="sent"),
                name="verified_only_if_sent",
            ),
            models.CheckConstraint(
                condition=models.Q(state="withdrawn", withdrawn_at__isnull=False)
                | ~models.Q(state="withdrawn") & models.Q(withdrawn_at__isnull=True),
                name="withdrawn_at_exactly_when_withdrawn",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="sending") | models.Q(sending_at__isnull=False),
                name="what_is_being_sent_has_a_moment",
            ),
        ]
        indexes = [
            models.Index(
                fields=["requested_at"],
                name="refunds_to_be_sent",
                condition=models.Q(state__in=["requested", "sending"]),
            )
        ]

    def __str__(self):
        return f"Refund for {self.invoice}"

    @property
    def is_withdrawn(self) -> bool:
        return self.state == self.State.WITHDRAWN

    @property
    def is_sent(self) -> bool:
        return self.state == self.State.SENT

    @property
    def is_verified(self) -> bool:
        """Whether its transaction was seen to pay what it should; until then it can be mended."""
        return self.verified_at is not None

    @property
    def is_being_sent(self) -> bool:
        return self.state == self.State.SENDING

    @property
    def is_open(self) -> bool:
        """Whether the merchant has something to do about it."""
        return self.state in (self.State.REQUESTED, self.State.SENDING)

    @property
    def current_amount(self) -> int:
        """The smallest units: as they were sent or, before that, as they are owed just now.

        While they are being sent, and after the request was withdrawn, as they were then.
        """
        if self.amount is not None:
            return self.amount
        if self.is_being_sent or self.is_withdrawn:
            return self.requested_amount
        return self.invoice.refundable.get(self.attempt_id, 0)

    def in_words(self, amount: int) -> str:
        return f"{self.attempt.format(amount)} to {self.destination}"

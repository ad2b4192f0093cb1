from django.db import models


class Mail(models.Model):
    """One message to one person, sent once; rows are made in the transaction of what they tell."""

    class Kind(models.TextChoices):
        CREATED = "created", "Link to the order"
        NEEDS = "needs", "Something is still to be paid"
        PAID = "paid", "Receipt and goods"
        OVERPAID = "overpaid", "Too much was paid"
        UNCOVERED = "uncovered", "A payment is gone"
        REVIEW = "review", "A person looks at it"
        SOLD = "sold", "Something was sold"
        ALARM = "alarm", "An invoice needs review"
        REFUND_REQUESTED = "refund-requested", "Money is asked back"
        REFUNDED = "refunded", "The refund"
        VANISHED = "vanished", "A payment is gone after the sale"

    FOR_THE_MERCHANT = {Kind.SOLD, Kind.ALARM, Kind.VANISHED, Kind.REFUND_REQUESTED}

    invoice = models.ForeignKey("Invoice", on_delete=models.PROTECT, related_name="mails")
    kind = models.CharField(max_length=20, choices=Kind)
    dedupe_key = models.CharField(
        max_length=40, blank=True, help_text="Which event it tells of, where there may be several."
    )
    to = models.EmailField()
    created_at = models.DateTimeField(auto_now_add=True)
    claimed_at = models.DateTimeField(
        null=True, blank=True, help_text="When a worker began to send it."
    )
    sent_at = models.DateTimeField(null=True, blank=True)
    superseded_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was no longer true, and so was not sent."
    )

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["invoice", "kind", "dedupe_key"], name="one_mail_for_each_event"
            )
        ]

    def __str__(self):
        return f"{self.get_kind_display()}, to {self.to}"

    @property
    def is_for_the_merchant(self) -> bool:
        return self.kind in self.FOR_THE_MERCHANT

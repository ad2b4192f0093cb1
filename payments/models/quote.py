from datetime import datetime

from django.db import models


class QuoteQuerySet(models.QuerySet):
    def standing_at(self, moment: datetime) -> "Quote | None":
        return self.filter(quoted_at__lte=moment).order_by("-quoted_at").first()


class Quote(models.Model):
    """An earlier promise of a payment attempt; the attempt itself holds the newest.

    What was first seen while it stood keeps its rate.
    """

    attempt = models.ForeignKey(
        "PaymentAttempt", on_delete=models.CASCADE, related_name="earlier_quotes"
    )
    rate = models.DecimalField(max_digits=24, decimal_places=8)
    due = models.BigIntegerField(help_text="In the smallest unit of the attempt's asset.")
    quoted_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    objects = QuoteQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["attempt", "-quoted_at"], name="quotes_by_age")]

    def __str__(self):
        return f"{self.attempt.format(self.due)} until {self.expires_at}"

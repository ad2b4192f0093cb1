from datetime import datetime

from django.db import models

from payments import money


class QuoteQuerySet(models.QuerySet):
    def standing_at(self, moment: datetime) -> "Quote | None":
        return self.filter(quoted_at__lte=moment).order_by("-quoted_at").first()


class Quote(models.Model):
    """A quote that a newer one has followed. What was seen while it stood keeps its rate."""

    invoice = models.ForeignKey("Invoice", on_delete=models.CASCADE, related_name="past_quotes")
    rate = models.DecimalField(max_digits=20, decimal_places=8)
    due = models.BigIntegerField()
    quoted_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    objects = QuoteQuerySet.as_manager()

    class Meta:
        indexes = [models.Index(fields=["invoice", "-quoted_at"], name="quotes_by_age")]

    def __str__(self):
        return f"{money.format_bitcoin(self.due)} BTC until {self.expires_at}"

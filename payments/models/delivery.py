from django.db import models


class Delivery(models.Model):
    """The goods were handed over to the buyer: one row per invoice, ever."""

    invoice = models.OneToOneField("Invoice", on_delete=models.PROTECT, related_name="delivery")
    made_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "deliveries"

    def __str__(self):
        return f"Delivery of {self.invoice}"

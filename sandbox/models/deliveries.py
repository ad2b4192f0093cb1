"""The callbacks that stores are owed, and each request that was made for them."""

from django.db import models
from django.db.models import Q
from django.utils import timezone

from sandbox.models.accounts import Store
from sandbox.models.network import Transaction


class Delivery(models.Model):
    """One callback that a store is owed: a transaction of one of its addresses has a new status."""

    class State(models.TextChoices):
        DUE = "due"
        HELD = "held"  # until the next status is delivered: how "reordered" is done
        DELIVERED = "delivered"
        GIVEN_UP = "given up"
        CANCELLED = "cancelled"

    store = models.ForeignKey(Store, models.CASCADE, related_name="deliveries")
    transaction = models.ForeignKey(Transaction, models.CASCADE, related_name="deliveries")
    address = models.CharField(max_length=100)
    status = models.PositiveSmallIntegerField()
    value = models.BigIntegerField("value in satoshis")
    state = models.CharField(max_length=10, choices=State, default=State.DUE)
    copies_left = models.PositiveSmallIntegerField(default=0)
    tries = models.PositiveIntegerField(default=0)
    due_at = models.DateTimeField(default=timezone.now)
    claimed_until = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        verbose_name_plural = "deliveries"
        indexes = [models.Index(fields=["state", "due_at"], name="deliveries_by_due_at")]
        constraints = [
            models.UniqueConstraint(
                fields=["store", "transaction", "address", "status"],
                name="one_delivery_per_event",
            ),
            models.CheckConstraint(condition=Q(value__gt=0), name="delivery_of_some_value"),
        ]

    def __str__(self):
        return f"status {self.status} to {self.store}"


class Attempt(models.Model):
    """One request of a delivery, as the log shows it."""

    delivery = models.ForeignKey(Delivery, models.CASCADE, related_name="attempts")
    number = models.PositiveIntegerField()
    url = models.TextField()
    started_at = models.DateTimeField()
    milliseconds = models.PositiveIntegerField()
    response_code = models.PositiveSmallIntegerField(null=True, blank=True)
    error = models.TextField(blank=True)
    body = models.CharField("first 300 characters of the answer", max_length=300, blank=True)
    retry_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        ordering = ["-pk"]
        constraints = [
            models.UniqueConstraint(fields=["delivery", "number"], name="one_row_per_attempt")
        ]

    def __str__(self):
        return f"request {self.number} of {self.delivery}"

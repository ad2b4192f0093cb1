from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import models

from payments import money, policy
from payments.providers.base import Sighting


class Status(models.IntegerChoices):
    """How far the network is, on Blockonomics' own scale."""

    NOT_STARTED = -1, "Not started"
    UNCONFIRMED = policy.UNCONFIRMED, "Unconfirmed"
    PARTIALLY_CONFIRMED = policy.PARTIALLY_CONFIRMED, "Partially confirmed"
    CONFIRMED = policy.CONFIRMED, "Confirmed"


class Transaction(models.Model):
    """One payment on the network to the invoice's address, as last heard of."""

    Status = Status

    invoice = models.ForeignKey("Invoice", on_delete=models.PROTECT, related_name="transactions")
    txid = models.CharField("transaction id", max_length=100)
    amount = models.BigIntegerField(help_text="Satoshis to the invoice's address.")
    status = models.SmallIntegerField(choices=Status)
    rbf = models.BooleanField(
        "replaceable", default=False, help_text="Marked as replaceable while unconfirmed."
    )
    rate = models.DecimalField(
        max_digits=20,
        decimal_places=8,
        null=True,
        blank=True,
        help_text="Fiat for one bitcoin, as promised or as of its first sighting.",
    )
    late = models.BooleanField(
        default=False, help_text="First seen after the quote: valued at the market's rate."
    )
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    dropped_at = models.DateTimeField(
        null=True, blank=True, help_text="When the network was found to have forgotten it."
    )

    class Meta:
        ordering = ["first_seen", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "txid"], name="one_row_per_txid"),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="no_negative_amount"),
            models.CheckConstraint(
                condition=models.Q(status__in=[0, 1, 2]), name="a_transaction_was_seen"
            ),
        ]
        indexes = [models.Index(fields=["txid"], name="transactions_by_txid")]

    def __str__(self):
        return self.txid

    def hear(self, sighting: Sighting, rate: Decimal | None, at: datetime) -> bool:
        """Takes over what a further sighting knows better; False if it knows nothing better."""
        before = (self.status, self.rbf, self.rate, self.dropped_at, self.amount)
        if sighting.status > self.status:
            # The deeper in the chain, the better the witness.
            self.status, self.amount = sighting.status, sighting.amount
        self.rbf = self.rbf or sighting.replaceable
        self.rate = self.rate or rate
        if sighting.status > Status.UNCONFIRMED:
            self.dropped_at = None  # only a block proves that it is back; a late echo does not
        self.last_seen = at
        self.save()
        return before != (self.status, self.rbf, self.rate, self.dropped_at, self.amount)

    @property
    def value(self) -> Decimal:
        """Its worth in the invoice's currency; nothing until a rate is known."""
        return money.to_fiat(self.amount, self.rate) if self.rate else Decimal(0)

    @property
    def mark(self) -> str:
        """One letter for all that a page shows of its state."""
        if self.dropped_at:
            return "x"
        return "r" if self.is_replaceable else str(self.status)

    @property
    def is_replaceable(self) -> bool:
        return self.rbf and self.status == Status.UNCONFIRMED

    def is_confirmed(self, enough: int) -> bool:
        """A replaceable unconfirmed transaction never counts, whatever the policy."""
        return self.status >= enough and not self.is_replaceable


@dataclass(frozen=True)
class Books:
    """What an invoice's transactions add up to: satoshis, and their value in fiat."""

    received: int
    confirmed: int
    received_value: Decimal
    confirmed_value: Decimal

    @classmethod
    def of(cls, transactions: Iterable[Transaction], enough: int) -> "Books":
        seen = [transaction for transaction in transactions if transaction.dropped_at is None]
        confirmed = [transaction for transaction in seen if transaction.is_confirmed(enough)]
        return cls(
            received=sum(transaction.amount for transaction in seen),
            confirmed=sum(transaction.amount for transaction in confirmed),
            received_value=money.add_up(transaction.value for transaction in seen),
            confirmed_value=money.add_up(transaction.value for transaction in confirmed),
        )

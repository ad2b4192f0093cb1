from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import models

from payments import money, policy
from payments.providers.base import Sighting

from .timeline import Event

Kind = Event.Kind

# Who reports what it saw itself on the network; a callback can be forged by whoever has its secret.
INDEPENDENT = {"watcher", "reconcile", "verification"}


class Status(models.IntegerChoices):
    """How far the network is, on Blockonomics' own scale."""

    NOT_STARTED = -1, "Not started"
    UNCONFIRMED = policy.UNCONFIRMED, "Unconfirmed"
    PARTIALLY_CONFIRMED = policy.PARTIALLY_CONFIRMED, "Partially confirmed"
    CONFIRMED = policy.CONFIRMED, "Confirmed"


# Not final on the network, or of unknown worth: it wants to be looked at again.
UNSETTLED = models.Q(dropped_at=None) & (
    models.Q(status__lt=Status.CONFIRMED) | models.Q(rate=None)
)


class TransactionQuerySet(models.QuerySet):
    def unsettled(self):
        return self.filter(UNSETTLED)


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
    verified_status = models.SmallIntegerField(
        choices=Status,
        default=Status.NOT_STARTED,
        help_text="What was heard of it otherwise than by callback.",
    )
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    missing_since = models.DateTimeField(
        null=True, blank=True, help_text="When the network's history lacked it for the first time."
    )
    dropped_at = models.DateTimeField(
        null=True, blank=True, help_text="When the network was found to have forgotten it."
    )

    objects = TransactionQuerySet.as_manager()

    class Meta:
        ordering = ["first_seen", "pk"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "txid"], name="one_row_per_txid"),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="no_negative_amount"),
            models.CheckConstraint(
                condition=models.Q(status__in=[0, 1, 2]), name="a_transaction_was_seen"
            ),
        ]
        indexes = [
            models.Index(fields=["txid"], name="transactions_by_txid"),
            models.Index(fields=["invoice"], name="transactions_unsettled", condition=UNSETTLED),
        ]

    def __str__(self):
        return self.txid

    @classmethod
    def first_heard(
        cls, sighting: Sighting, rate: Decimal | None, late: bool, at: datetime, by: str
    ) -> "Transaction":
        return cls(
            txid=sighting.txid,
            amount=sighting.amount,
            status=sighting.status,
            verified_status=sighting.status if by in INDEPENDENT else Status.NOT_STARTED,
            rbf=sighting.replaceable,
            rate=rate,
            late=late,
            first_seen=at,
            last_seen=at,
        )

    def first_news(self) -> list:
        """What the first sighting has told, as (kind, note) lines."""
        news = [(Kind.SEEN, self.in_words())]
        if self.status > Status.UNCONFIRMED:
            news.append((Kind.CONFIRMED, self.confirmed_in_words()))
        if self.verified_status > Status.NOT_STARTED:
            news.append((Kind.VERIFIED, self.verified_in_words()))
        return news

    def hear(self, sighting: Sighting, rate: Decimal | None, at: datetime, by: str) -> list:
        """Takes over what a further sighting knows better; returns that as (kind, note) lines."""
        news = []
        independent = by in INDEPENDENT
        if sighting.amount != self.amount:
            news.append((Kind.REVIEW, f"{self.txid} was reported with different amounts"))
        is_verified = self.verified_status > Status.NOT_STARTED
        if (
            sighting.status >= self.verified_status
            if independent
            else sighting.status > self.status and not is_verified
        ):
            # The deeper in the chain, the better the witness; against one who saw it there, a
            # callback is none.
            self.amount = sighting.amount
        if sighting.status > self.status:
            self.status = sighting.status
            news.append((Kind.CONFIRMED, self.confirmed_in_words()))
        if independent and sighting.status > self.verified_status:
            self.verified_status = sighting.status
            news.append((Kind.VERIFIED, self.verified_in_words()))
        if sighting.replaceable and not self.rbf:
            self.rbf = True
            news.append((Kind.SEEN, f"{self.txid} is marked as replaceable"))
        if self.rate is None and rate is not None:
            news += self.value_at(rate)
        if independent or sighting.status > Status.UNCONFIRMED:
            # A late echo of a callback proves nothing, a block or the network's history does.
            self.missing_since = None
            if self.dropped_at:
                # It begins anew: that it was deep in the chain once is worth nothing now.
                self.status = sighting.status
                self.verified_status = sighting.status if independent else Status.NOT_STARTED
                self.dropped_at = None
                news.append((Kind.RETURNED, self.txid))
        if not self.last_seen or at > self.last_seen:
            self.last_seen = at
        self.save()
        return news

    def keep_promise(self, rate: Decimal, at: datetime) -> list:
        """It was heard of as early as that, but judged only now, after a later report of it.

        What was promised then is kept; what was given since is not taken back.
        """
        if at >= self.first_seen or (self.rate is not None and self.rate >= rate):
            return []
        self.first_seen, self.late = at, False
        return self.value_at(rate)

    def value_at(self, rate: Decimal) -> list:
        """Gives it the worth that was not known when it was seen."""
        self.rate = rate
        return [(Kind.VALUED, f"{self.txid} at {rate.normalize():f}")]

    def miss(self, at: datetime) -> list:
        """The network's history lacks it: for the first time, or for long enough to be gone."""
        if self.dropped_at:
            return []
        if self.missing_since is None:
            self.missing_since = at
        elif at - self.missing_since >= settings.DROP_AFTER:
            self.dropped_at = at
        self.save()
        return [(Kind.DROPPED, self.txid)] if self.dropped_at else []

    def in_words(self) -> str:
        worth = f"at {self.rate.normalize():f}" if self.rate else "of unknown worth"
        return f"{money.format_bitcoin(self.amount)} BTC {worth}, {self.txid}"

    def confirmed_in_words(self) -> str:
        return f"{self.txid}: {self.get_status_display().lower()}"

    def verified_in_words(self) -> str:
        return f"{self.txid}: {self.get_verified_status_display().lower()}"

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

    def is_confirmed(self, enough: int, independently: bool) -> bool:
        """A replaceable unconfirmed transaction never counts, whatever the policy.

        `independently`: what callbacks alone have said is not enough.
        """
        status = min(self.status, self.verified_status) if independently else self.status
        return status >= enough and not self.is_replaceable


@dataclass(frozen=True)
class Books:
    """What an invoice's transactions add up to: satoshis, and their value in fiat."""

    received: int
    confirmed: int
    received_value: Decimal
    confirmed_value: Decimal
    confirmed_transactions: list

    @classmethod
    def of(cls, transactions: Iterable[Transaction], total: Decimal) -> "Books":
        enough, independently = policy.enough_status(total), policy.must_verify(total)
        seen = [payment for payment in transactions if payment.dropped_at is None]
        confirmed = [payment for payment in seen if payment.is_confirmed(enough, independently)]
        return cls(
            received=sum(payment.amount for payment in seen),
            confirmed=sum(payment.amount for payment in confirmed),
            received_value=money.add_up(payment.value for payment in seen),
            confirmed_value=money.add_up(payment.value for payment in confirmed),
            confirmed_transactions=confirmed,
        )

from datetime import datetime
from decimal import Decimal

from django.conf import settings
from django.db import models

from payments.providers.base import TransactionReport
from payments.settlement import Payment

from .event import Event

Kind = Event.Kind

# Who reports what it saw itself on the network; a callback can be forged by whoever has its secret.
INDEPENDENT = {"watcher", "reconcile", "verification"}

# Not final, or of unknown worth: it wants to be looked at again.
UNSETTLED = models.Q(dropped_at=None) & (models.Q(is_final=False) | models.Q(rate=None))


class TransactionQuerySet(models.QuerySet):
    def unsettled(self):
        return self.filter(UNSETTLED)

    def of(self, invoice):
        """All payments to the invoice, whichever way they came."""
        return self.filter(attempt__invoice=invoice)


class Transaction(models.Model):
    """One payment to a payment attempt, as last heard of."""

    attempt = models.ForeignKey(
        "PaymentAttempt", on_delete=models.PROTECT, related_name="transactions"
    )
    transaction_id = models.CharField("transaction id", max_length=255)
    amount = models.BigIntegerField(help_text="In the smallest unit of the attempt's asset.")
    confirmations = models.PositiveIntegerField(default=0)
    is_final = models.BooleanField(
        "final", default=False, help_text="The provider reports nothing deeper."
    )
    replaceable = models.BooleanField(
        default=False, help_text="Marked as replaceable while unconfirmed."
    )
    rate = models.DecimalField(
        max_digits=24,
        decimal_places=8,
        null=True,
        blank=True,
        help_text="Fiat for one whole of the asset: the promised rate, or that of its first day.",
    )
    late = models.BooleanField(
        default=False, help_text="First seen after the quote: valued at the market's rate."
    )
    verified_confirmations = models.PositiveIntegerField(
        null=True,
        blank=True,
        help_text="The confirmations that others than callbacks reported; empty: nobody has.",
    )
    verified_at = models.DateTimeField(
        null=True, blank=True, help_text="When others than callbacks last reported it."
    )
    first_seen = models.DateTimeField()
    last_seen = models.DateTimeField()
    missing_since = models.DateTimeField(
        null=True, blank=True, help_text="When the provider's history lacked it at first."
    )
    dropped_at = models.DateTimeField(
        null=True, blank=True, help_text="When the network was found to have forgotten it."
    )

    objects = TransactionQuerySet.as_manager()

    class Meta:
        ordering = ["first_seen", "pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["attempt", "transaction_id"], name="one_row_per_transaction_id"
            ),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="no_negative_amount"),
        ]
        indexes = [
            models.Index(fields=["transaction_id"], name="transactions_by_id"),
            models.Index(fields=["attempt"], name="transactions_unsettled", condition=UNSETTLED),
        ]

    def __str__(self):
        return self.transaction_id

    # What reports change; each verb returns its changes as (kind, note) lines of the timeline.

    @classmethod
    def first_reported(
        cls, report: TransactionReport, rate: Decimal | None, late: bool, at: datetime, by: str
    ) -> "Transaction":
        return cls(
            transaction_id=report.transaction_id,
            amount=report.amount,
            confirmations=report.confirmations,
            is_final=report.is_final,
            verified_confirmations=report.confirmations if by in INDEPENDENT else None,
            verified_at=at if by in INDEPENDENT else None,
            replaceable=report.is_replaceable,
            rate=rate,
            late=late,
            first_seen=at,
            last_seen=at,
        )

    def first_changes(self) -> list:
        """What the first report has told."""
        changes = [(Kind.SEEN, self.in_words())]
        if self.confirmations or self.is_final:
            changes.append((Kind.CONFIRMED, self._depth_in_words()))
        if self.verified_confirmations is not None:
            changes.append((Kind.VERIFIED, self._depth_in_words()))
        return changes

    def update_from(self, report: TransactionReport, rate: Decimal | None, at, by: str) -> list:
        """Takes over what a further report knows better."""
        changes = []
        is_independent = by in INDEPENDENT
        if report.amount != self.amount:
            note = f"{self.transaction_id} was reported with different amounts"
            changes.append((Kind.REVIEW, note))
        if self._is_better_witness(report, is_independent):
            self.amount = report.amount
        if report.confirmations > self.confirmations or report.is_final > self.is_final:
            self.confirmations = max(report.confirmations, self.confirmations)
            self.is_final = report.is_final or self.is_final
            changes.append((Kind.CONFIRMED, self._depth_in_words()))
        if is_independent and report.confirmations > self.verified_depth:
            self.verified_confirmations = report.confirmations
            changes.append((Kind.VERIFIED, self._depth_in_words(report)))
        if report.is_replaceable and not self.replaceable:
            self.replaceable = True
            changes.append((Kind.SEEN, f"{self.transaction_id} is marked as replaceable"))
        if self.rate is None and rate is not None:
            changes += self.value_at(rate)
        if is_independent:
            # A callback, late or replayed, is older news: only the network's word brings it back.
            changes += self._found_again(report)
            self.missing_since, self.verified_at = None, at
        if not self.last_seen or at > self.last_seen:
            self.last_seen = at
        self.save()
        return changes

    def _is_better_witness(self, report: TransactionReport, is_independent: bool) -> bool:
        """The deeper in the chain, the better; against one who saw it there, a callback is none."""
        if is_independent:
            return report.confirmations >= self.verified_depth
        is_deeper = report.confirmations > self.confirmations or report.is_final > self.is_final
        return is_deeper and self.verified_confirmations is None

    def _found_again(self, report: TransactionReport) -> list:
        """A dropped payment begins anew: that it was deep in the chain once is worth nothing."""
        if not self.dropped_at:
            return [(Kind.VERIFIED, f"{self.transaction_id}: found")] if self.missing_since else []
        self.confirmations, self.is_final = report.confirmations, report.is_final
        self.verified_confirmations = report.confirmations
        self.dropped_at = None
        return [(Kind.RETURNED, self.transaction_id)]

    def honor_earlier_quote(self, rate: Decimal, at: datetime) -> list:
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
        return [(Kind.VALUED, f"{self.transaction_id} at {rate.normalize():f}")]

    def mark_missing(self, at: datetime, is_replaced: bool = False) -> list:
        """The network lacks it: for the first time, or for long enough to be gone.

        `is_replaced`: a later payment is in a block, so that nobody need wait any longer.
        """
        if self.dropped_at:
            return []
        changes = []
        if self.missing_since is None:
            self.missing_since = at
            changes = [(Kind.MISSED, self.transaction_id)]
        if is_replaced or at - self.missing_since >= settings.DROP_AFTER and not changes:
            self.dropped_at = at
            changes = [(Kind.DROPPED, self.transaction_id)]
        self.save()
        return changes

    # What it is worth, and how it is told

    def as_payment(self) -> Payment:
        return Payment(
            way=self.attempt_id,
            asset=self.attempt.asset,
            amount=self.amount,
            rate=self.rate,
            confirmations=self.confirmations,
            is_final=self.is_final,
            is_replaceable=self.is_replaceable,
            verified_confirmations=self.verified_confirmations,
            key=self.pk,
            seen_at=self.first_seen,
            may_be_resent_after=self._may_be_resent_after,
        )

    @property
    def _may_be_resent_after(self) -> datetime | None:
        """In no block, and missed by the network, or marked as replaceable: then payments that
        came since the network was last seen to have it may be the same coins.
        """
        if self.is_in_block:
            return None
        if self.missing_since:
            return self.first_seen
        return (self.verified_at or self.first_seen) if self.replaceable else None

    @property
    def is_in_block(self) -> bool:
        return bool(self.confirmations or self.is_final)

    @property
    def value(self) -> Decimal:
        """Its worth in the invoice's currency; nothing until a rate is known."""
        return self.as_payment().value

    @property
    def verified_depth(self) -> int:
        """The confirmations that others than callbacks saw; -1 if nobody else saw it."""
        return -1 if self.verified_confirmations is None else self.verified_confirmations

    @property
    def is_replaceable(self) -> bool:
        return self.replaceable and not self.is_in_block

    @property
    def may_be_replaced(self) -> bool:
        """Whether a later payment, or one that is there in its place, may be the same coins."""
        if self.dropped_at:
            return not self.is_in_block and bool(self.attempt.payments_after(self))
        return self.pk in self.attempt.invoice.balance.in_doubt

    @property
    def mark(self) -> str:
        """One letter or number for all that a page shows of its state."""
        if self.dropped_at:
            return "x"
        depth = "r" if self.is_replaceable else f"{self.confirmations}{'f' * self.is_final}"
        return depth + "m" * bool(self.missing_since)

    def in_words(self) -> str:
        worth = f"at {self.rate.normalize():f}" if self.rate else "of unknown worth"
        return f"{self.attempt.format(self.amount)} {worth}, {self.transaction_id}"

    def _depth_in_words(self, report: TransactionReport | None = None) -> str:
        return f"{self.transaction_id}: {depth_in_words(report or self)}"


def depth_in_words(seen) -> str:
    """How far a transaction or a report of one is, for the timeline."""
    if seen.is_final:
        return "confirmed"
    return "partially confirmed" if seen.confirmations else "unconfirmed"

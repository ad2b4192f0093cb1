import secrets
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from payments.money import Asset
from payments.settlement import Settlement, Tally

from .transaction import Transaction

# Blocks that are undone, if ever, are undone within hours.
PAID_LATELY = timedelta(days=1)


def new_token() -> str:
    return secrets.token_urlsafe(24)


class PaymentAttemptQuerySet(models.QuerySet):
    def of(self, provider: str, reference: str):
        """The one attempt that a report of this provider means, if there is one."""
        return self.filter(provider=provider, reference=reference)

    def due_for_reconciliation(self, provider: str, before: datetime):
        """What may have moved unheard, not checked since `before`, the longest unchecked first.

        That is what is unpaid and young enough, or confirming, or has money that is not final or
        whose worth is not known. After them come invoices paid lately: their money could vanish,
        as the merchant must hear. Those are checked no more often than DROP_AFTER.
        """
        now, payments = timezone.now(), Transaction.objects.filter(attempt=OuterRef("pk"))
        is_paid = Q(invoice__settlement=Settlement.PAID)
        is_young = Q(quoted_at__gte=now - timedelta(days=settings.RECONCILE_DAYS))
        is_confirming = Q(invoice__settlement=Settlement.CONFIRMING)
        is_unsettled = Exists(payments.unsettled())
        is_missing = Exists(payments.filter(missing_since__isnull=False, dropped_at=None))
        has_rested = Q(checked_at=None) | Q(checked_at__lt=now - settings.DROP_AFTER)
        paid_lately = Q(invoice__paid_at__gte=now - PAID_LATELY) & has_rested
        return (
            self.filter(provider=provider)
            .filter(~is_paid & is_young | is_confirming | is_unsettled | is_missing | paid_lately)
            .filter(Q(checked_at=None) | Q(checked_at__lt=before))
            .select_related("invoice")
            .prefetch_related("invoice__attempts__transactions", "transactions")
            .order_by(
                F("invoice__paid_at").asc(nulls_first=True),
                F("checked_at").asc(nulls_first=True),
                "pk",
            )
        )

    def awaiting_payment(self, provider: str):
        """Unpaid and young enough for its shopper to be about, or confirming."""
        is_young = Q(quoted_at__gte=timezone.now() - settings.WATCH_LIFETIME)
        is_confirming = Q(invoice__settlement=Settlement.CONFIRMING)
        is_unpaid = ~Q(invoice__settlement=Settlement.PAID)
        return self.filter(provider=provider).filter(is_unpaid & is_young | is_confirming)

    def unused_in_a_row(self, provider: str):
        """Those after the last one that money came to: so wallets count before they give up."""
        used = Transaction.objects.filter(attempt__provider=provider, dropped_at=None)
        last = used.order_by("-attempt_id").values_list("attempt_id", flat=True).first()
        return self.filter(provider=provider, pk__gt=last or 0)

    def unused_address_count(self, provider: str) -> int:
        return self.unused_in_a_row(provider).count()


class PaymentAttempt(models.Model):
    """One way in which an invoice may be paid: where to, and the quote that stands.

    Money that comes to it counts whenever it comes. Its earlier promises are kept as quotes.
    """

    invoice = models.ForeignKey("Invoice", on_delete=models.PROTECT, related_name="attempts")
    provider = models.CharField(max_length=30)
    asset_code = models.CharField("asset", max_length=10)
    asset_decimals = models.PositiveSmallIntegerField()
    reference = models.CharField(
        max_length=255, help_text="What the provider knows it by: an address, a session."
    )
    token = models.CharField(max_length=32, unique=True, default=new_token, editable=False)
    redirect_url = models.URLField(max_length=2000, blank=True)

    rate = models.DecimalField(
        max_digits=24, decimal_places=8, help_text="Fiat for one whole of the asset."
    )
    due = models.BigIntegerField(help_text="What the quote asks for, in the smallest unit.")
    quoted_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    checked_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was last held against the provider's history."
    )
    created_at = models.DateTimeField(auto_now_add=True)

    objects = PaymentAttemptQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["provider", "reference"], name="one_attempt_per_reference"
            ),
            # Two services may watch one wallet: what is paid to it must mean one invoice.
            models.UniqueConstraint(
                fields=["asset_code", "reference"], name="one_attempt_per_address"
            ),
            models.CheckConstraint(
                condition=Q(due__gte=0) & Q(rate__gt=0), name="an_attempt_asks_for_something"
            ),
        ]
        indexes = [models.Index(fields=["reference"], name="attempts_by_reference")]

    def __str__(self):
        return f"{self.invoice} by {self.provider}"

    # The quote

    def set_quote(self, rate: Decimal, due: int, at: datetime, expires_at: datetime | None = None):
        """Takes over a promise; how long it stands is the shop's to say if nobody else does."""
        self.rate, self.due = rate, due
        self.quoted_at, self.expires_at = at, expires_at or at + settings.QUOTE_LIFETIME

    def quoted_rate_at(self, moment: datetime) -> Decimal | None:
        """The rate of the quote that covers a payment first seen then; None if it is late.

        A promise outlives the next quote: a callback may be judged long after it came.
        """
        quote = self
        if moment < self.quoted_at:
            quote = self.earlier_quotes.standing_at(moment) or self
        return quote.rate if moment < quote.expires_at + settings.QUOTE_GRACE else None

    def quote_in_words(self) -> str:
        rate, until = (
            self.rate.normalize(),
            f"{timezone.localtime(self.expires_at):%Y-%m-%d %H:%M:%S %Z}",
        )
        return f"{self.format(self.due)} at {rate:f} {self.invoice.currency} until {until}"

    # The units of its asset

    @property
    def asset(self) -> Asset:
        return Asset(self.asset_code, self.asset_decimals)

    def format(self, units: int) -> str:
        """The amount with the asset's code, as people read it: 0.00010000 BTC."""
        return f"{self.asset.format(units)} {self.asset_code}"

    @property
    def tally(self) -> Tally:
        """What came this way, in the smallest unit."""
        return self.invoice.balance.tally(self.pk)

    @property
    def payments_in_question(self) -> list[Transaction]:
        """Payments that the network may have forgotten, as far as the books can tell; the largest
        first: those in no block that came before another one, and dropped ones that a callback
        told of since.
        """
        rows = list(self.transactions.all())
        alive = [row for row in rows if not row.dropped_at]
        overtaken = [row for row in alive[:-1] if not row.is_in_block]
        returning = [row for row in rows if row.dropped_at and row.last_seen > row.dropped_at]
        return sorted(overtaken + returning, key=lambda row: -row.amount)

    def payments_after(self, payment: Transaction) -> list[Transaction]:
        """Those that were first seen later, as far as the network still has them."""
        rows = [row for row in self.transactions.all() if not row.dropped_at]
        return [row for row in rows if row.first_seen > payment.first_seen]

    @property
    def outstanding(self) -> int:
        """What is still to be paid, at the quote's rate.

        Nothing, as long as the worth of something that came in is not known.
        """
        balance = self.invoice.balance
        if not balance.asks_for_more:
            return 0
        # What is smaller cannot be sent.
        return max(self.asset.to_units(balance.missing, self.rate), self.smallest_payment)

    @property
    def is_rounded_up(self) -> bool:
        """Whether more is asked for than is missing, since less cannot be sent."""
        missing = self.asset.to_units(self.invoice.balance.missing, self.rate)
        return self.outstanding > missing

    @property
    def smallest_payment(self) -> int:
        """The least that can be sent this way, in the smallest unit."""
        return self.invoice.policy.smallest_payment(self.asset_code)

    @property
    def has_excess(self) -> bool:
        """Whether what is too much would be seen in the currency, sent back or not."""
        worth = self.asset.to_fiat(self.tally.excess, self.rate)
        return worth >= Asset.fiat(self.invoice.currency).smallest

    @property
    def is_overpaid(self) -> bool:
        """Whether so much too much came in that it could be sent back."""
        return self.tally.excess >= self.smallest_payment

    @property
    def refund(self):
        """The refund as it was asked for or sent; None if there is none, or it was withdrawn."""
        return next((row for row in self.refunds.all() if not row.is_withdrawn), None)

    @property
    def refunded(self) -> int:
        """What the merchant has sent back."""
        return (self.refund and self.refund.amount) or 0

    @property
    def refundable(self) -> int:
        """What has to go back this way, as far as it is confirmed and not yet sent back."""
        return self.invoice.refundable.get(self.pk, 0)

    def agrees_with(self, balance: int) -> bool:
        """Whether the history of a reference that holds so much needs no look.

        What is not final there may have moved on, and what was missed once is asked for again.
        """
        payments = [row for row in self.transactions.all() if not row.dropped_at]
        is_settled = all(row.is_final and row.rate and not row.missing_since for row in payments)
        is_settled = is_settled and not self.invoice.waits_for_verification
        return is_settled and balance == sum(row.amount for row in payments)

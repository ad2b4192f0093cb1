import re
import secrets
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import models
from django.db.models import Exists, Max, OuterRef, Q
from django.urls import reverse
from django.utils import timezone

from payments import money
from payments.policy import Policy
from payments.settlement import Balance, Settlement, assess

from .event import Event
from .transaction import Transaction

# Digits and capitals that nobody confuses on the telephone.
ORDER_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"
KEY = re.compile(r"[A-Za-z0-9_-]{32}")
SHOPPER = "shopper"
# Who cancels an order that was not paid in its time.
TIME = "time"
UNCOVERED = [Settlement.WAITING.value, Settlement.UNDERPAID.value]


def new_key() -> str:
    return secrets.token_urlsafe(24)


def new_order_code() -> str:
    return "".join(secrets.choice(ORDER_CODE_ALPHABET) for _ in range(8))


class InvoiceQuerySet(models.QuerySet):
    def paid(self):
        return self.filter(settlement=Settlement.PAID)

    def unpaid(self):
        return self.filter(settlement__in=UNCOVERED)

    def overdue(self):
        """Not covered in the time that there is for it; what is of unknown worth may cover it."""
        unvalued = Transaction.objects.filter(
            attempt__invoice=OuterRef("pk"), rate=None, dropped_at=None
        )
        ended = self.unpaid().filter(created_at__lte=timezone.now() - settings.ORDER_LIFETIME)
        return ended.exclude(Exists(unvalued))

    def with_key(self, key: str):
        """The invoice that a URL means; nothing at all for what cannot be a key."""
        return self.filter(key=key) if KEY.fullmatch(key) else self.none()

    def open(self):
        """Nothing has come yet, and a quote stands; the one that ends first stands first."""
        seen = Transaction.objects.filter(attempt__invoice=OuterRef("pk"))
        return (
            self.alias(ends_at=Max("attempts__expires_at"))
            .filter(~Exists(seen), ends_at__gt=timezone.now())
            .exclude(settlement=Settlement.PAID)
            .order_by("ends_at")
        )

    def to_resettle(self):
        """Unpaid with money that came lately: a changed rule of money may settle it otherwise."""
        recent = Q(updated_at__gte=timezone.now() - timedelta(days=settings.RECONCILE_DAYS))
        money_came = [Settlement.UNDERPAID, Settlement.CONFIRMING]
        return self.filter(recent, settlement__in=money_came).with_payments()

    def with_payments(self):
        return self.prefetch_related("attempts__transactions")

    def locked(self):
        """For whoever changes it: nobody else does until the commit. With its transactions."""
        return self.select_for_update(of=("self",)).with_payments()

    def complete(self):
        """With all that the invoice page and its conclusions need."""
        return self.with_payments().prefetch_related("attempts__refunds", "lines")


class Invoice(models.Model):
    """One purchase: what was bought, by whom, the total in fiat, and how it stands.

    How it is paid, its attempts know. Its settlement is drawn from the facts; only
    `settling.settle` writes it.
    """

    Settlement = Settlement

    key = models.CharField(max_length=32, unique=True, default=new_key, editable=False)
    order_code = models.CharField(max_length=8, unique=True, default=new_order_code)
    visitor = models.CharField(max_length=32, blank=True, editable=False)
    email = models.EmailField(blank=True)
    language = models.CharField(
        max_length=10, blank=True, help_text="The shopper's, in which mails are written."
    )

    currency = models.CharField(max_length=3)
    total = models.DecimalField(max_digits=19, decimal_places=4)
    tax_name = models.CharField(max_length=30, blank=True, help_text="As on the day of the sale.")
    tax_rate = models.DecimalField(
        max_digits=7, decimal_places=4, default=0, help_text="In percent; the total includes it."
    )

    settlement = models.CharField(max_length=10, default=Settlement.WAITING.value)
    paid_at = models.DateTimeField(null=True, blank=True)
    is_overpaid = models.BooleanField(
        "overpaid", default=False, help_text="So much too much came that it could be sent back."
    )
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.CharField(max_length=160, blank=True)
    review = models.CharField(
        "needs review", max_length=300, blank=True, help_text="Why a person has to look at it."
    )

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = InvoiceQuerySet.as_manager()

    class Meta:
        permissions = [
            ("act_for_shopper", "Can act for the shopper: open an order's own page from the desk")
        ]
        constraints = [
            models.CheckConstraint(condition=Q(total__gt=0), name="an_invoice_asks_for_something"),
            models.CheckConstraint(
                condition=Q(settlement__in=[each.value for each in Settlement]),
                name="a_known_settlement",
            ),
            models.CheckConstraint(
                condition=Q(settlement="paid", paid_at__isnull=False)
                | (~Q(settlement="paid") & Q(paid_at__isnull=True)),
                name="paid_at_exactly_when_paid",
            ),
            models.CheckConstraint(
                condition=Q(paid_at__isnull=True) | Q(cancelled_at__isnull=True),
                name="never_both_paid_and_cancelled",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="invoices_by_age"),
            models.Index(fields=["settlement", "-created_at"], name="invoices_by_settlement"),
            models.Index(
                fields=["-created_at"],
                name="invoices_overpaid",
                condition=Q(is_overpaid=True),
            ),
            models.Index(fields=["visitor"], name="invoices_by_visitor"),
            models.Index(fields=["email"], name="invoices_by_email"),
        ]

    def __str__(self):
        return self.order

    def get_absolute_url(self):
        return reverse("payments:invoice", args=[self.key])

    @property
    def order(self) -> str:
        """The order code as people read it: 7K3M-QX2P."""
        return f"{self.order_code[:4]}-{self.order_code[4:]}"

    @property
    def tax(self) -> Decimal:
        """The tax that the total includes, as of the day of the sale."""
        return money.included_tax(self.total, self.tax_rate, self.currency)

    def log(self, kind: str, by: str, note: str = ""):
        """Writes one line of the timeline, in the transaction of what it tells."""
        Event.objects.create(invoice=self, kind=kind, by=by[:160], note=note[:300])

    # How it is paid

    @property
    def attempt(self):
        """The way to pay that the shopper chose last."""
        return list(self.attempts.all())[-1]

    @property
    def transactions(self) -> list[Transaction]:
        """All payments, whichever way they came, in the order in which they were first seen."""
        found = [row for attempt in self.attempts.all() for row in attempt.transactions.all()]
        return sorted(found, key=lambda row: (row.first_seen, row.pk))

    @property
    def known_transactions(self) -> list[Transaction]:
        """Those that the network has not forgotten."""
        return [row for row in self.transactions if not row.dropped_at]

    @property
    def expires_at(self) -> datetime:
        """When the last of its quotes ends."""
        return max(attempt.expires_at for attempt in self.attempts.all())

    @property
    def quote_count(self) -> int:
        """How many quotes there have been, over all its attempts."""
        attempts = self.attempts.all()
        return len(attempts) + sum(attempt.earlier_quotes.count() for attempt in attempts)

    @property
    def ends_at(self) -> datetime:
        """Until then it may be paid; what comes for the first time afterwards is given back."""
        return self.created_at + settings.ORDER_LIFETIME

    def has_ended(self, at: datetime) -> bool:
        """Whether its time was over by then; what is covered is only waited for."""
        return at >= self.ends_at and self.settlement in UNCOVERED

    # What the facts amount to

    @property
    def policy(self) -> Policy:
        return Policy.of(settings)

    @property
    def balance(self) -> Balance:
        return self.balance_at(timezone.now())

    def balance_at(self, moment: datetime) -> Balance:
        return assess(
            self.total,
            [row.as_payment() for row in self.known_transactions],
            self.policy,
            at=moment,
            expires_at=self.expires_at,
            is_paid=self.paid_at is not None,
            is_cancelled=self.cancelled_at is not None,
        )

    def settlement_at(self, moment: datetime) -> Settlement:
        return self.balance_at(moment).settlement

    def displayed_settlement(self, moment: datetime) -> Settlement:
        """The settlement as people are told it: paid is only what is written down as paid.

        The two differ for a while when the merchant has changed a rule of money.
        """
        settlement = self.settlement_at(moment)
        if settlement == Settlement.PAID and not self.paid_at:
            return Settlement.CONFIRMING
        return settlement

    @property
    def confirmed_transactions(self) -> list[Transaction]:
        confirmed = {payment.key for payment in self.balance.confirmed_payments}
        return [row for row in self.transactions if row.pk in confirmed]

    @property
    def unverified_transactions(self) -> list[Transaction]:
        """The payments whose confirmation is a callback's word alone, where that does not do."""
        unverified = {payment.key for payment in self.balance.unverified}
        return [row for row in self.transactions if row.pk in unverified]

    @property
    def waits_for_verification(self) -> bool:
        """Whether callbacks say that enough is confirmed, and nobody else has said so yet."""
        return bool(self.balance.unverified)

    @property
    def has_replaceable(self) -> bool:
        return any(row.is_replaceable for row in self.known_transactions)

    @property
    def has_late(self) -> bool:
        """Whether a payment came too late for its quote and was valued at the market's rate."""
        return any(row.late for row in self.transactions)

    @property
    def lacks_stock(self) -> bool:
        return any(line.is_backordered for line in self.lines.all())

    @property
    def is_looked_into(self) -> bool:
        """Whether a person has to look at it before anything goes on."""
        return bool(self.review or self.lacks_stock)

    @property
    def is_cancelled_by_shopper(self) -> bool:
        """Then they may reinstate it; what the merchant cancelled stays so."""
        return self.cancelled_by == SHOPPER

    @property
    def is_cancelled_by_time(self) -> bool:
        return self.cancelled_by == TIME

    @property
    def refundable(self) -> dict[int, int]:
        """What has to go back, attempt by attempt, in the smallest unit of each one's asset."""
        backordered = sum(line.amount for line in self.lines.all() if line.is_backordered)
        refunded = {attempt.pk: attempt.refunded for attempt in self.attempts.all()}
        return self.balance.refundable(self.policy, backordered, refunded)

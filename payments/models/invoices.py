import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import Exists, F, OuterRef, Q, prefetch_related_objects
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _

from payments import database, live, money, policy, tasks
from payments.providers.base import (
    PaymentRequest,
    Provider,
    ProviderError,
    ProviderRefused,
    Sighting,
)

from .lines import InvoiceLine, Line, OutOfStock
from .mail import Mail
from .refunds import Refundable
from .timeline import Event
from .transactions import Books, Status, Transaction

# Digits and capitals that nobody confuses on the telephone.
ORDER_CODE_ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


# Blocks that are undone, if ever, are undone within hours.
PAID_LATELY = timedelta(days=1)

KEY = re.compile(r"[A-Za-z0-9_-]{32}")


def new_key() -> str:
    return secrets.token_urlsafe(24)


def new_order_code() -> str:
    return "".join(secrets.choice(ORDER_CODE_ALPHABET) for _ in range(8))


class InvoiceQuerySet(models.QuerySet):
    def paid(self):
        return self.filter(settlement=Invoice.Settlement.PAID)

    def unpaid(self):
        return self.filter(
            settlement__in=[Invoice.Settlement.WAITING, Invoice.Settlement.UNDERPAID]
        )

    def with_key(self, key: str):
        """The invoice that a URL means; nothing at all for what cannot be a key."""
        return self.filter(key=key) if KEY.fullmatch(key) else self.none()

    def in_need(self, provider: Provider, before: datetime):
        """What may have moved unheard, not compared since `before`, the oldest need first.

        Unpaid and young enough, or confirming, or with money that is not final, or whose worth is
        not known. After them what was paid lately: its money could vanish, as the merchant must
        hear. Once it is final, that is asked for no more often than DROP_AFTER.
        """
        now, payments = timezone.now(), Transaction.objects.filter(invoice=OuterRef("pk"))
        paid = Q(settlement=Invoice.Settlement.PAID)
        young = Q(quoted_at__gte=now - timedelta(days=settings.RECONCILE_DAYS))
        confirming = Q(settlement=Invoice.Settlement.CONFIRMING)
        unsettled = Exists(payments.unsettled())
        missing = Exists(payments.filter(missing_since__isnull=False, dropped_at=None))
        rested = Q(compared_at=None) | Q(compared_at__lt=now - settings.DROP_AFTER)
        paid_lately = Q(paid_at__gte=now - PAID_LATELY) & rested
        return (
            self.filter(provider=provider.slug)
            .filter(~paid & young | confirming | unsettled | missing | paid_lately)
            .filter(Q(compared_at=None) | Q(compared_at__lt=before))
            .prefetch_related("transactions")
            .order_by(
                F("paid_at").asc(nulls_first=True), F("compared_at").asc(nulls_first=True), "pk"
            )
        )

    def to_watch(self, provider: Provider):
        """Unpaid and young enough for its shopper to be about, or confirming."""
        young = Q(quoted_at__gte=timezone.now() - settings.WATCH_LIFETIME)
        confirming = Q(settlement=Invoice.Settlement.CONFIRMING)
        unpaid = ~Q(settlement=Invoice.Settlement.PAID)
        return self.filter(provider=provider.slug).filter(unpaid & young | confirming)

    def open(self):
        """Nothing has come yet, and the quote stands."""
        seen = Transaction.objects.filter(invoice=OuterRef("pk"))
        return self.filter(~Exists(seen), expires_at__gt=timezone.now()).exclude(
            settlement=Invoice.Settlement.PAID
        )

    def unused_in_a_row(self):
        """Those after the last one that money came to: so wallets count before they give up."""
        used = Transaction.objects.filter(dropped_at=None).order_by("-invoice_id")
        return self.filter(pk__gt=used.values_list("invoice_id", flat=True).first() or 0)

    def locked(self):
        """For whoever changes it: nobody else does until the commit. With its transactions."""
        return self.select_for_update().prefetch_related("transactions")

    def complete(self):
        """With all that the invoice page and its conclusions need."""
        related = self.select_related("refund_claim")
        return related.prefetch_related("transactions", "lines__product")


class InvoiceManager(models.Manager.from_queryset(InvoiceQuerySet)):
    def standing_for(self, visitor: str, lines: list[Line]) -> "Invoice | None":
        """The visitor's unpaid invoice over the very same lines: addresses are scarce."""
        if not visitor:
            return None
        wanted = {(line.product.pk, line.quantity, line.product.price) for line in lines}
        own = self.unpaid().filter(visitor=visitor, currency=settings.SHOP_CURRENCY)
        for invoice in own.complete().order_by("-pk")[:20]:
            rows = invoice.lines.all()
            if wanted == {(row.product_id, row.quantity, row.unit_price) for row in rows}:
                return invoice
        return None

    def create_for(
        self,
        lines: list[Line],
        provider: Provider,
        visitor: str = "",
        email: str = "",
        language: str = "",
    ) -> "Invoice":
        """A new invoice over the lines, with an address and a quote from the provider.

        Talks to the provider first and writes afterwards, all or nothing. Raises ProviderError,
        or OutOfStock if there are not as many left as are wanted.
        """
        for line in lines:
            if not line.is_in_stock:
                raise OutOfStock(line.product)
        invoice = Invoice(
            provider=provider.slug,
            currency=settings.SHOP_CURRENCY,
            total=sum(line.amount for line in lines),
            visitor=visitor,
            email=email,
            language=language,
            tax_name=settings.TAX_NAME if settings.TAX_RATE else "",
            tax_rate=settings.TAX_RATE,
        )
        invoice.take(self._request_fresh_payment(invoice, provider), at=timezone.now())
        try:
            with transaction.atomic():
                invoice.save(force_insert=True)
                InvoiceLine.objects.bulk_create(InvoiceLine.of(invoice, line) for line in lines)
                invoice.reserve()
                invoice.log(Event.Kind.CREATED, "shopper", invoice.quote_in_words())
                Mail.objects.about(invoice, Mail.Kind.CREATED)
        except OutOfStock:
            # Somebody was quicker. Addresses are scarce, and nobody was shown this one.
            provider.take_back(invoice.reference)
            raise
        except IntegrityError as error:
            if not self.filter(asset=invoice.asset, reference=invoice.reference).exists():
                raise
            # Two requests at once can be given the same address; the other one has it now.
            raise self._address_taken(provider) from error
        return invoice

    def _request_fresh_payment(self, invoice: "Invoice", provider: Provider) -> PaymentRequest:
        for _attempt in range(2):
            database.release()
            request = provider.request_payment(invoice)
            if not self.filter(asset=request.asset, reference=request.reference).exists():
                return request
        raise self._address_taken(provider)

    def _address_taken(self, provider: Provider) -> ProviderRefused:
        return ProviderRefused(
            f"{provider.slug} gave an address that already belongs to another invoice. Look at "
            "the wallet's address index in its dashboard; nobody was shown that address again.",
            _(
                "The bitcoin payment service gave us an address that is already in use, so we do "
                "not show it to you."
            ),
        )

    def record(
        self,
        provider: Provider,
        sighting: Sighting,
        by: str = "callback",
        heard_at: datetime | None = None,
        then: Callable[["Recorded"], None] | None = None,
    ) -> "Recorded":
        """Brings one sighting into the books: lock, note, settle; the one gate for news of money.

        Hearing it twice, late or out of order changes nothing that was known better. Open pages
        are told after the commit. `heard_at` is when the shop heard of it first, if not just now.
        What came of it is told to `then` in the same database transaction.
        """
        heard_at = heard_at or timezone.now()
        rate = self._rate_if_late(provider, sighting, heard_at)
        with transaction.atomic():
            invoice = self.locked().filter(**whose(provider, sighting)).first()
            news = invoice.note(sighting, rate, heard_at, by) if invoice else []
            if news:
                invoice.follow_up(news, by)
            recorded = Recorded(invoice, bool(news))
            if then:
                then(recorded)
        return recorded

    def compare(
        self,
        provider: Provider,
        invoice: "Invoice",
        history: list[Sighting],
        by: str,
        asked_at: datetime | None = None,
    ):
        """Brings the whole history of an invoice's address into the books.

        A transaction that it lacks, now and at least DROP_AFTER ago, is marked as dropped: the one
        way back. Paid stays paid; then the merchant is alarmed. What was first heard of after
        `asked_at`, the history could not have.
        """
        for sighting in history:
            self.record(provider, sighting, by)
        present = {sighting.txid for sighting in history}
        with transaction.atomic():
            invoice = self.locked().get(pk=invoice.pk)
            now = timezone.now()
            known = [
                row for row in invoice.transactions.all() if row.first_seen <= (asked_at or now)
            ]
            missing = [row for row in known if row.txid not in present]
            invoice.follow_up([line for row in missing for line in row.miss(now)], by)

    def doubt(self, invoice: "Invoice", payment):
        """A callback told more of this payment than the network: a person has to look at it."""
        with transaction.atomic():
            invoice = self.locked().get(pk=invoice.pk)
            if payment := next((row for row in invoice.unverified if row.pk == payment.pk), None):
                known = f"calls {payment.get_verified_status_display().lower()}"
                if payment.verified_status == Status.NOT_STARTED:
                    known = "knows nothing of"
                reason = f"a callback reported what the network {known}: {payment.txid}"
                self.call_for_review(invoice, reason, by="verification")

    def catch_up(self, by: str) -> int:
        """Settles what a changed rule of money settles otherwise; returns how many those were."""
        changed, now = 0, timezone.now()
        money_came = [Invoice.Settlement.UNDERPAID, Invoice.Settlement.CONFIRMING]
        recent = Q(updated_at__gte=now - timedelta(days=settings.RECONCILE_DAYS))
        waiting = self.filter(recent, settlement__in=money_came).prefetch_related("transactions")
        for seen in waiting:
            if seen.conclusion(now) != seen.settlement:
                with transaction.atomic():
                    invoice = self.locked().get(pk=seen.pk)
                    before = invoice.settlement
                    invoice.settle(now, by)
                    changed += invoice.settlement != before
                    transaction.on_commit(lambda invoice=invoice: live.announce(invoice))
        return changed

    def give_back_stock(self, pk: int):
        """The invoice's quote may be over: what nobody pays for goes back on the shelf."""
        with transaction.atomic():
            self.locked().get(pk=pk).give_back(by="worker")

    def supply(self, product_id: int, by: str) -> int:
        """There are more of it again: serves the orders that go without, the oldest first."""
        lacking = self.filter(lines__product=product_id, lines__stock=InvoiceLine.Stock.LACKING)
        served = 0
        for pk in lacking.order_by("pk").values_list("pk", flat=True):
            with transaction.atomic():
                served += self.locked().get(pk=pk).take_what_lacked(by)
        return served

    def call_for_review(self, invoice: "Invoice", reason: str, by: str, is_told: bool = False):
        """Something about the invoice is odd: its timeline says so, and both sides are mailed."""
        with transaction.atomic():
            invoice = self.locked().get(pk=invoice.pk)
            if reason not in invoice.review:
                invoice.log(Event.Kind.REVIEW, by, reason)
                invoice.ask_for_review(reason, is_told)
                transaction.on_commit(lambda: live.announce(invoice))

    def _rate_if_late(
        self, provider: Provider, sighting: Sighting, heard_at: datetime
    ) -> Decimal | None:
        """The market rate for a payment that no quote covers, asked for before any lock is held.

        None if there is no need of it, or if it cannot be had: money is recorded all the same.
        """
        found = self.filter(**whose(provider, sighting))
        quotes = found.values_list("quoted_at", "expires_at")[:1]
        if all(begin <= heard_at < end + settings.QUOTE_GRACE for begin, end in quotes):
            return None  # the usual case, at the least cost
        invoice = found.get()
        if invoice.promised_rate(heard_at) is not None:
            return None
        if invoice.transactions.filter(txid=sighting.txid, rate__isnull=False).exists():
            return None
        database.release()
        try:
            return provider.market_rate(invoice.currency)
        except ProviderError:
            return None


def whose(provider: Provider, sighting: Sighting) -> dict:
    return {
        "provider": provider.slug,
        "asset": sighting.asset,
        "reference": sighting.reference,
    }


@dataclass(frozen=True)
class Recorded:
    """What became of a sighting: the invoice it is about, if any, and whether it was news."""

    invoice: "Invoice | None"
    news: bool


class Invoice(Refundable):
    """One purchase: what was bought, what is asked for it, and what the network said.

    Its settlement is a conclusion from its transactions; only `record` and `create_for` write it.
    """

    Status = Status

    class Settlement(models.TextChoices):
        WAITING = "waiting", "Waiting for the payment"
        EXPIRED = "expired", "The quote is over"
        UNDERPAID = "underpaid", "Something is missing"
        CONFIRMING = "confirming", "Payment seen, waiting for confirmation"
        PAID = "paid", "Paid"
        CANCELLED = "cancelled", "Cancelled"

    key = models.CharField(max_length=32, unique=True, default=new_key, editable=False)
    order_code = models.CharField(max_length=8, unique=True, default=new_order_code)
    visitor = models.CharField(max_length=32, blank=True, editable=False)
    email = models.EmailField(blank=True)
    language = models.CharField(
        max_length=10, blank=True, help_text="The shopper's, in which mails are written."
    )

    currency = models.CharField(max_length=3)
    total = models.DecimalField(max_digits=14, decimal_places=2)
    tax_name = models.CharField(max_length=30, blank=True, help_text="As on the day of the sale.")
    tax_rate = models.DecimalField(
        max_digits=7, decimal_places=4, default=0, help_text="In percent; the total includes it."
    )

    provider = models.CharField(max_length=30)
    asset = models.CharField(max_length=10)
    reference = models.CharField("address", max_length=100)

    rate = models.DecimalField(max_digits=20, decimal_places=8, help_text="Fiat for one bitcoin.")
    due = models.BigIntegerField(help_text="Satoshis that the quote asks for.")
    quoted_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    status = models.SmallIntegerField(choices=Status, default=Status.NOT_STARTED)
    settlement = models.CharField(max_length=10, choices=Settlement, default=Settlement.WAITING)
    paid_at = models.DateTimeField(null=True, blank=True)

    review = models.CharField(
        "needs review", max_length=300, blank=True, help_text="Why a person has to look at it."
    )
    compared_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was last held against the network's history."
    )

    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = InvoiceManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["asset", "reference"], name="one_invoice_per_address"),
            models.CheckConstraint(
                condition=models.Q(total__gt=0) & models.Q(due__gte=0) & models.Q(rate__gt=0),
                name="an_invoice_asks_for_something",
            ),
            models.CheckConstraint(
                condition=models.Q(status__in=[-1, 0, 1, 2]), name="a_known_network_status"
            ),
            models.CheckConstraint(
                condition=models.Q(settlement="paid", paid_at__isnull=False)
                | (~models.Q(settlement="paid") & models.Q(paid_at__isnull=True)),
                name="paid_at_exactly_when_paid",
            ),
            models.CheckConstraint(
                condition=models.Q(paid_at__isnull=True) | models.Q(cancelled_at__isnull=True),
                name="never_both_paid_and_cancelled",
            ),
        ]
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="invoices_by_age"),
            models.Index(fields=["settlement", "-created_at"], name="invoices_by_settlement"),
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
        return money.included_tax(self.total, self.tax_rate)

    # The quote

    def take(self, request: PaymentRequest, at: datetime):
        """Puts down what the provider asks for, as the quote that stands from now on."""
        self.asset = request.asset
        self.reference = request.reference
        self.quote(request.rate, request.due, at)

    def quote(self, rate: Decimal, due: int, at: datetime):
        self.rate, self.due = rate, due
        self.quoted_at, self.expires_at = at, at + settings.QUOTE_LIFETIME

    def promised_rate(self, moment: datetime) -> Decimal | None:
        """The rate of the quote that covers a payment first seen then; None if it is late.

        A promise outlives the next quote: a callback may be judged long after it came.
        """
        quote = self
        if moment < self.quoted_at:
            quote = self.past_quotes.standing_at(moment) or self
        return quote.rate if moment < quote.expires_at + settings.QUOTE_GRACE else None

    def may_requote(self, at: datetime) -> bool:
        """A quote stands until it is over, or until too little came in.

        While a person has to look at money that came, nobody is asked for more.
        """
        settlement = self.conclusion(at)
        is_short = settlement == self.Settlement.UNDERPAID and not self.is_looked_into
        return is_short or settlement == self.Settlement.EXPIRED

    @property
    def is_looked_into(self) -> bool:
        return bool(self.review or self.lacks_stock)

    def requote(self, provider: Provider) -> bool:
        """A new quote for what is still missing, on the same address; False if the old one stands.

        Raises ProviderError when there is no rate to be had, OutOfStock when others were quicker.
        """
        if not self.may_requote(timezone.now()):
            return False
        database.release()
        rate = provider.market_rate(self.currency)
        with transaction.atomic():
            invoice = Invoice.objects.locked().get(pk=self.pk)
            invoice.value_what_is_not(rate)
            if not invoice.may_requote(timezone.now()):
                return False
            invoice.past_quotes.create(
                rate=invoice.rate,
                due=invoice.due,
                quoted_at=invoice.quoted_at,
                expires_at=invoice.expires_at,
            )
            invoice.quote(rate, money.to_satoshis(invoice.missing, rate), at=timezone.now())
            invoice.reserve()
            invoice.save(update_fields=["rate", "due", "quoted_at", "expires_at", "updated_at"])
            invoice.log(Event.Kind.QUOTED, "shopper", invoice.quote_in_words())
            transaction.on_commit(lambda: live.announce(invoice))
        return True

    def quote_in_words(self) -> str:
        due, rate = money.format_bitcoin(self.due), self.rate.normalize()
        return f"{due} BTC at {rate:f} {self.currency} until {self.expires_at:%Y-%m-%d %H:%M:%S %Z}"

    # The stock

    def reserve(self):
        """Sets its goods aside until its quote is over; raises OutOfStock if there are too few.

        For no longer than STOCK_HOURS in all: then they are for whoever pays first.
        """
        missing = self.lines.filter(product__stock__isnull=False)
        missing = missing.exclude(stock=InvoiceLine.Stock.HELD)
        lacking = missing.take() if timezone.now() < self.held_until else missing.too_many()
        if lacking:
            raise OutOfStock(lacking[0].product)
        self._put_off_giving_back()

    @property
    def held_until(self) -> datetime:
        """Until then goods are kept for an order that is not covered."""
        return (self.created_at or timezone.now()) + settings.STOCK_HOLD

    def give_back(self, by: str):
        """Puts its goods back on the shelf, unless they are paid for or may be, before long."""
        now = timezone.now()
        settlement = self.conclusion(now)
        is_short = settlement == self.Settlement.UNDERPAID and now >= self.expires_at
        if is_short and now < self.held_until:
            self._put_off_giving_back()
        elif is_short or settlement in (self.Settlement.EXPIRED, self.Settlement.CANCELLED):
            given = self.lines.give_back()
            if given:
                self.log(Event.Kind.GIVEN_BACK, by, ", ".join(map(str, given)))
            for line in given:
                tasks.supply.enqueue(line.product_id)

    def _move_goods(self, before: str, by: str):
        """What a settlement that has changed means for the goods that were set aside."""
        if self.settlement == before:
            return
        if self.settlement in (self.Settlement.WAITING, self.Settlement.CANCELLED):
            lacking = self.lines.filter(stock=InvoiceLine.Stock.LACKING)
            lacking.update(stock=InvoiceLine.Stock.RETURNED)  # nobody pays for them any more
            self.give_back(by)
            self._put_off_giving_back()
        else:
            self._take_again(by)

    def _put_off_giving_back(self):
        """Has a worker look again when the time of what is set aside is over."""
        if self.lines.filter(stock=InvoiceLine.Stock.HELD).exists():
            over = self.expires_at + settings.QUOTE_GRACE
            if self.settlement == self.Settlement.UNDERPAID and over <= timezone.now():
                over = self.held_until
            tasks.give_back_stock.using(run_after=max(over, timezone.now())).enqueue(self.pk)

    def _take_again(self, by: str):
        """Money came after the goods were put back: they are taken again, if there are any left."""
        lacking = self.lines.filter(stock=InvoiceLine.Stock.RETURNED).take()
        for line in lacking:
            line.mark(InvoiceLine.Stock.LACKING)
        if lacking:
            reason = f"sold out before the money came: {', '.join(map(str, lacking))}"
            self.log(Event.Kind.REVIEW, by, reason)
            self.ask_for_review(reason)

    def take_what_lacked(self, by: str) -> bool:
        """Sets aside what was sold out when the money came; False if there are still too few.

        Whoever asked for the money back, or got it, is not served as well.
        """
        if self.claim or self.cancelled_at:
            return False
        without = self.lines.filter(stock=InvoiceLine.Stock.LACKING)
        wanted = without.count()
        lacking = without.take()
        if len(lacking) < wanted:
            self.log(Event.Kind.TOUCHED, by, "took from the new stock what was lacking")
            self._put_off_giving_back()
            transaction.on_commit(lambda: live.announce(self))
        return not lacking

    @property
    def lacks_stock(self) -> bool:
        return any(line.is_lacking for line in self.lines.all())

    # The facts

    def note(self, sighting: Sighting, rate: Decimal | None, at: datetime, by: str) -> list:
        """Notes one sighting among the transactions; returns the news as (kind, note) lines.

        A transaction first seen while the quote stands keeps the quote's rate, a late one gets
        `rate`, the market's. It only ever advances.
        """
        promised = self.promised_rate(at)
        late = promised is None
        rate = rate if late else promised
        known = next((row for row in self.transactions.all() if row.txid == sighting.txid), None)
        if known:
            kept = [] if late or self.paid_at else known.keep_promise(promised, at)
            return kept + known.hear(sighting, rate, at, by)
        payment = Transaction.first_heard(sighting, rate, late, at, by)
        self.transactions.add(payment, bulk=False)
        prefetch_related_objects([self], "transactions")
        return payment.first_news()

    def value_what_is_not(self, rate: Decimal):
        """Values, at the market's rate, what came when no rate could be had."""
        news = []
        for payment in self.transactions.all():
            if payment.rate is None and payment.dropped_at is None:
                news += payment.value_at(rate)
                payment.save(update_fields=["rate"])
        self.follow_up(news, by="shopper")

    def follow_up(self, news: list, by: str):
        """What news of money causes, in the same database transaction."""
        if not news:
            return
        news = [line for line in news if not self._is_old_doubt(*line)]
        news += self.review_of_stray_money(news)
        for kind, note in news:
            self.log(kind, by, note)
        self.settle(timezone.now(), by)
        for kind, note in news:
            if kind == Event.Kind.REVIEW:
                self.ask_for_review(note)
        if any(kind == Event.Kind.DROPPED for kind, _ in news):
            self._follow_up_loss(by)
        else:
            Mail.objects.ask_for_the_rest(self)
        if self.waits_for_verification:
            tasks.verify.enqueue(self.pk)
        transaction.on_commit(lambda: live.announce(self))

    def _is_old_doubt(self, kind: str, note: str) -> bool:
        """Whether a person was asked about that very thing before: hearing it twice is no news."""
        return kind == Event.Kind.REVIEW and self.timeline.filter(kind=kind, note=note).exists()

    def _follow_up_loss(self, by: str):
        """Paid stays paid, but the merchant is alarmed if what is left does not cover it."""
        if not self.paid_at:
            Mail.objects.about(self, Mail.Kind.UNCOVERED, Mail.Kind.ALARM)
        elif self.books.confirmed_value < policy.least_accepted(self.total):
            reason = "a payment vanished from the network after the invoice was paid"
            self.log(Event.Kind.REVIEW, by, reason)
            self.ask_for_review(reason, is_told=True)
            Mail.objects.about(self, Mail.Kind.VANISHED)

    def settle(self, at: datetime, by: str):
        """Draws the conclusion from the facts. Paid is final, and causes the delivery once."""
        statuses = [payment.status for payment in self.transactions.all() if not payment.dropped_at]
        self.status = max(statuses, default=Status.NOT_STARTED)
        before = self.settlement
        if self.paid_at is None:
            self.settlement = self.conclusion(at)
            if self.settlement == self.Settlement.EXPIRED:
                self.settlement = self.Settlement.WAITING  # time decides that one, not a column
            if self.settlement == self.Settlement.PAID:
                self.paid_at = at
                Delivery.objects.create(invoice=self, made_at=at)
        self.save(update_fields=["status", "settlement", "paid_at", "updated_at"])
        self._move_goods(before, by)
        self._tell_of_settlement(before, by)

    def _tell_of_settlement(self, before: str, by: str):
        """Timeline and mail about a settlement that has changed."""
        if before == self.settlement or self.settlement == self.Settlement.CANCELLED:
            return
        if self.settlement == self.Settlement.PAID:
            self.log(Event.Kind.PAID_LATE if self.has_late else Event.Kind.PAID, by)
            Mail.objects.about(self, Mail.Kind.PAID, Mail.Kind.SOLD)
        elif self.settlement == self.Settlement.CONFIRMING:
            self.log(Event.Kind.COVERED, by)
        elif before == self.Settlement.CONFIRMING:
            self.log(Event.Kind.UNCOVERED, by)
            Mail.objects.about(self, Mail.Kind.UNCOVERED, Mail.Kind.ALARM)

    def ask_for_review(self, reason: str, is_told: bool = False):
        """Something is odd: a person has to look at it, and is told, once until they have."""
        if reason in self.review:
            return
        is_told = is_told or bool(self.review)
        self.review = "; ".join(filter(None, [self.review, reason]))[:300]
        self.save(update_fields=["review"])
        if is_told:
            return
        Mail.objects.about(self, Mail.Kind.ALARM)
        if not self.paid_at:
            Mail.objects.about(self, Mail.Kind.REVIEW)

    def mark_as_reviewed(self, by: str):
        """A person has looked at it; what has turned up since they looked stays."""
        with transaction.atomic():
            seen = Invoice.objects.filter(pk=self.pk, review=self.review).exclude(review="")
            if seen.update(review=""):
                self.log(Event.Kind.TOUCHED, by, f"reviewed: {self.review}")
                transaction.on_commit(lambda: live.announce(self))

    def log(self, kind: str, by: str, note: str = ""):
        """One line in the timeline, in the transaction of what it tells."""
        Event.objects.create(invoice=self, kind=kind, by=by[:160], note=note[:300])

    # The conclusions

    @property
    def books(self) -> Books:
        return Books.of(self.transactions.all(), self.total)

    def agrees_with(self, held: int) -> bool:
        """Whether the books need no look at the history of an address that holds so much.

        What is not final there may have moved on, and what was missed once is asked for again.
        """
        payments = [row for row in self.transactions.all() if not row.dropped_at]
        settled = all(
            row.status == Status.CONFIRMED and row.rate and not row.missing_since
            for row in payments
        )
        settled = settled and not self.waits_for_verification
        return settled and held == sum(row.amount for row in payments)

    @property
    def waits_for_verification(self) -> bool:
        """Whether callbacks say that enough is confirmed, and nobody else has said so yet."""
        return bool(self.unverified)

    @property
    def unverified(self) -> list:
        """The payments whose confirmation is a callback's word alone, where that does not do."""
        if self.paid_at or not policy.must_verify(self.total):
            return []
        enough = policy.enough_status(self.total)
        return [
            row
            for row in self.transactions.all()
            if row.dropped_at is None
            and row.is_confirmed(enough, independently=False)
            and not row.is_confirmed(enough, independently=True)
        ]

    def conclusion(self, at: datetime) -> Settlement:
        """What the facts amount to at that moment, the strongest first."""
        if self.cancelled_at:
            return self.Settlement.CANCELLED  # never of a paid invoice, as a constraint sees to
        books = self.books
        enough = policy.least_accepted(self.total)
        if self.paid_at or books.confirmed_value >= enough:
            return self.Settlement.PAID
        if books.received_value >= enough:
            return self.Settlement.CONFIRMING
        if books.received:
            return self.Settlement.UNDERPAID
        if at >= self.expires_at:
            return self.Settlement.EXPIRED
        return self.Settlement.WAITING

    def standing(self, at: datetime) -> Settlement:
        """The conclusion as people are told it: paid is only what is written down as paid.

        The two differ for a while when the merchant has changed a rule of money.
        """
        settlement = self.conclusion(at)
        if settlement == self.Settlement.PAID and not self.paid_at:
            return self.Settlement.CONFIRMING
        return settlement

    @property
    def missing(self) -> Decimal:
        """The fiat that has not been seen yet."""
        return max(self.total - self.books.received_value, Decimal(0))

    @property
    def outstanding(self) -> int:
        """The satoshis that are still to be paid, at the quote's rate.

        Nothing, as long as the worth of something that came in is not known.
        """
        settlement = self.conclusion(self.quoted_at)
        covered = settlement in (self.Settlement.PAID, self.Settlement.CONFIRMING)
        if covered or self.cancelled_at or self.has_unvalued:
            return 0
        # Wallets and nodes refuse to send dust.
        return max(money.to_satoshis(self.missing, self.rate), settings.SMALLEST_PAYMENT)

    @property
    def overpaid(self) -> int:
        """The whole satoshis that are confirmed and were not needed to cover the total.

        Payments cover it in the order in which they came. What is beyond keeps the rate at which
        it came: nobody gains by waiting for another one.
        """
        open_, beyond = self.total, 0
        for payment in self.confirmed_transactions:
            if payment.value > open_:
                beyond += payment.amount - money.to_satoshis(open_, payment.rate)
            open_ = max(money.EXACT.subtract(open_, payment.value), Decimal(0))
        return beyond

    @property
    def has_unvalued(self) -> bool:
        """Whether the worth of a payment is not known, as there was no rate when it was seen."""
        return any(row.rate is None and row.dropped_at is None for row in self.transactions.all())

    @property
    def is_short(self) -> bool:
        """Whether a payment came whose worth is known, and it was too little."""
        is_underpaid = self.conclusion(self.quoted_at) == self.Settlement.UNDERPAID
        return is_underpaid and not self.has_unvalued

    @property
    def has_replaceable(self) -> bool:
        payments = self.transactions.all()
        return any(row.is_replaceable and row.dropped_at is None for row in payments)

    @property
    def has_late(self) -> bool:
        """Whether a payment came too late for its quote and was valued at the market's rate."""
        return any(payment.late for payment in self.transactions.all())

    def steps(self) -> list[tuple[str, bool]]:
        """How far the slowest of the payments is, as steps done and to be done."""
        statuses = [payment.status for payment in self.transactions.all() if not payment.dropped_at]
        slowest = Status.CONFIRMED if self.paid_at else min(statuses, default=Status.NOT_STARTED)
        steps = [_("Payment seen"), _("First confirmation"), _("Second confirmation")]
        return [(step, slowest >= status) for status, step in enumerate(steps)][
            : self.blocks_needed + 1
        ]

    def revision(self, at: datetime) -> str:
        """Changes whenever the invoice page has something new to say."""
        payments = "".join(payment.mark for payment in self.transactions.all())
        settlement = self.standing(at)
        asks_anew = settlement == self.Settlement.UNDERPAID and at >= self.expires_at
        doubts = (self.review > "") + 2 * self.waits_for_verification + 4 * self.lacks_stock
        open_questions = f"{int(asks_anew)}-{doubts}{self.refund_mark}"
        return f"{settlement}-{payments}-{self.outstanding}-{open_questions}"

    @property
    def blocks_needed(self) -> int:
        """How many blocks make a payment final here; Blockonomics counts no further than two."""
        return max(policy.enough_status(self.total), 0 if self.paid_at else 1)

    @property
    def is_overpaid(self) -> bool:
        """Whether so much too much came in that it could be sent back."""
        return self.overpaid >= settings.SMALLEST_PAYMENT

    @property
    def confirmed_transactions(self) -> list:
        return self.books.confirmed_transactions

    @property
    def bitcoin_uri(self) -> str:
        return money.bitcoin_uri(
            self.reference, self.outstanding, f"{settings.SHOP_NAME} {self.order}"
        )


class Delivery(models.Model):
    """The goods were handed over to the buyer: one row per invoice, ever."""

    invoice = models.OneToOneField(Invoice, on_delete=models.PROTECT, related_name="delivery")
    made_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "deliveries"

    def __str__(self):
        return f"Delivery of {self.invoice}"

"""Money that has to go back: an order that is called off, and what the shopper claims.

The books say how much. A person pays it, from the merchant's own wallet: the shop holds no keys.
"""

from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db import models, transaction
from django.utils import timezone

from payments import live, money

from .mail import Mail
from .timeline import Event

ADDRESS_LENGTH = 100
REFUND_NOTE_LENGTH = 500
SHOPPER = "shopper"


class NothingToRefund(Exception):
    """The books know of no money that would have to go back."""


class AlreadyRefunded(Exception):
    """The merchant has recorded the payment: the claim is closed."""


class BeingSent(AlreadyRefunded):
    """The merchant sends it just now: nothing about the claim may change meanwhile."""


class LookAgain(Exception):
    """What the merchant was told to send is no longer what the claim and the books say."""


class Refundable(models.Model):
    """The side of an invoice that is about money going back."""

    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancelled_by = models.CharField(max_length=160, blank=True)

    class Meta:
        abstract = True

    def cancel(self, by: str, reason: str = "") -> bool:
        """Calls the order off, so that it is never paid and nothing is delivered.

        False if it is paid: what is paid is delivered. Whoever cancels it last decides whether the
        shopper may take it up again.
        """
        with transaction.atomic():
            invoice = type(self).objects.locked().get(pk=self.pk)
            if invoice.paid_at:
                return False
            invoice.call_off(by, reason)
        return True

    def call_off(self, by: str, reason: str):
        """For who holds the invoice's lock."""
        self.cancelled_at, self.cancelled_by = self.cancelled_at or timezone.now(), by[:160]
        self.save(update_fields=["cancelled_at", "cancelled_by"])
        self.log(Event.Kind.CANCELLED, by, reason)
        self.settle(timezone.now(), by)
        transaction.on_commit(lambda: live.announce(self))

    def take_up_again(self, by: str):
        """Undoes what the shopper called off; the facts decide how the order stands now."""
        self.cancelled_at, self.cancelled_by = None, ""
        self.save(update_fields=["cancelled_at", "cancelled_by"])
        self.settle(timezone.now(), by)

    # The conclusions

    def review_of_stray_money(self, news: list) -> list:
        """Money that comes when nothing is sold any more, or after the refund, wants a person."""
        kinds = {kind for kind, _ in news}
        new = {Event.Kind.SEEN, Event.Kind.RETURNED}
        if kinds & (new | {Event.Kind.CONFIRMED}) and self._is_over() and self.refunded:
            reason = "money came after the refund"
        elif kinds & new and self.cancelled_at:
            reason = "money came after the order was cancelled"
        else:
            return []
        return [] if reason in self.review else [(Event.Kind.REVIEW, reason)]

    def _is_over(self) -> bool:
        return bool(self.paid_at or self.cancelled_at)

    @property
    def excess(self) -> Decimal:
        """What was confirmed beyond the total, in the invoice's currency."""
        return max(self.books.confirmed_value - self.total, Decimal(0))

    @property
    def is_called_off_by_shopper(self) -> bool:
        """Then they may take it up again; what the merchant cancelled stays so."""
        return self.cancelled_by == SHOPPER

    @property
    def claim(self) -> "RefundClaim | None":
        """The shopper's claim as it stands, or stood when it was paid."""
        claim = getattr(self, "refund_claim", None)
        return None if claim is None or claim.is_withdrawn else claim

    @property
    def refunded(self) -> int:
        """The satoshis that the merchant has sent back."""
        return (self.claim and self.claim.amount) or 0

    @property
    def refundable(self) -> int:
        """The satoshis that have to go back, as far as they are confirmed and not yet sent back.

        All of them if the order is cancelled, or if they came and never covered it and the quote
        is over; of a paid order, what was paid too much or for goods that are sold out. Nothing
        while the worth of a payment is being found out, and nothing that is too little to be sent.
        """
        confirmed = self.books.confirmed
        if self.paid_at:
            owed = min(self.overpaid + self._paid_for_nothing(), confirmed)
        elif self.cancelled_at or self._was_never_covered():
            owed = confirmed
        else:
            owed = 0
        rest = owed - self.refunded
        return rest if rest >= settings.SMALLEST_PAYMENT else 0

    def _paid_for_nothing(self) -> int:
        """The share of the total that was paid for goods which were gone by then, in satoshis."""
        lacking = sum(line.amount for line in self.lines.all() if line.is_lacking)
        paid = self.books.confirmed - self.overpaid
        return int(paid * lacking / self.total)

    def _was_never_covered(self) -> bool:
        now = timezone.now()
        is_underpaid = self.conclusion(now) == self.Settlement.UNDERPAID
        return is_underpaid and now >= self.expires_at and not self.has_unvalued

    @property
    def refund_mark(self) -> str:
        """Changes whenever an open page has something new to say of a refund."""
        if not self._is_over() or not self.claim:
            return ""
        return (
            "-refunded" if self.claim.refunded_at else f"-claimed{self.claim.changed_at:%H%M%S%f}"
        )


@dataclass(frozen=True)
class Shown:
    """What the merchant is told to send, and where to."""

    address: str
    amount: int


class RefundClaimManager(models.Manager):
    def claim(self, invoice, address: str, note: str = "") -> "RefundClaim":
        """Puts down where the shopper wants the money, or corrects it; one claim per invoice.

        An order that was never covered is called off by it, so that what is promised back is not
        counted as payment. Raises NothingToRefund, BeingSent or AlreadyRefunded.
        """
        with transaction.atomic():
            invoice = type(invoice).objects.locked().get(pk=invoice.pk)
            claim = self.filter(invoice=invoice).first() or RefundClaim(invoice=invoice)
            claim.refuse_if_sent()
            stands = claim.pk and not claim.is_withdrawn
            if stands and (claim.address, claim.note) == (address, note):
                return claim
            if not stands and not invoice.refundable:
                raise NothingToRefund
            if not stands:
                claim.claimed_at = timezone.now()
            amount = invoice.refundable
            claim.asked = amount or claim.asked
            claim.address, claim.note, claim.withdrawn_at = address, note, None
            claim.save()
            invoice.log(Event.Kind.REFUND_CLAIMED, SHOPPER, claim.in_words(amount))
            if not invoice.paid_at and not invoice.cancelled_at:
                invoice.call_off(SHOPPER, "the shopper asks for the money back")
            occasion = f"claim-{claim.claimed_at:%Y%m%d%H%M%S}"
            Mail.objects.about(invoice, Mail.Kind.CLAIMED, occasion=occasion)
            transaction.on_commit(lambda: live.announce(invoice))
        return claim

    def withdraw(self, invoice):
        """The shopper would rather pay the rest, or keep it so. Raises BeingSent, AlreadyRefunded.

        The row stays, with what was asked last: the merchant may have sent the money a moment ago
        without having said so, and can still record it.
        """
        with transaction.atomic():
            invoice = type(invoice).objects.locked().get(pk=invoice.pk)
            claim = self.filter(invoice=invoice, withdrawn_at=None).first()
            if claim is None:
                return
            claim.refuse_if_sent()
            claim.asked, claim.withdrawn_at = invoice.refundable or claim.asked, timezone.now()
            claim.save(update_fields=["asked", "withdrawn_at", "changed_at"])
            invoice.log(Event.Kind.REFUND_WITHDRAWN, SHOPPER)
            if invoice.is_called_off_by_shopper:
                invoice.take_up_again(SHOPPER)
            transaction.on_commit(lambda: live.announce(invoice))

    def send(self, claim: "RefundClaim", shown: "Shown", by: str):
        """The merchant is about to send it: from now on the shopper changes nothing about it.

        Nor do they take up again what they called off: otherwise they could withdraw the claim
        while the money is on its way, and pay no more than the rest. Raises LookAgain,
        AlreadyRefunded, or BeingSent if somebody at the desk was quicker.
        """
        with self._locked(claim) as (invoice, claim):
            claim.refuse_if_sent()
            now = Shown(claim.address, invoice.refundable)
            if claim.is_withdrawn or shown != now or not now.amount:
                raise LookAgain
            claim.asked, claim.sending_at = now.amount, timezone.now()
            claim.save(update_fields=["asked", "sending_at", "changed_at"])
            if invoice.is_called_off_by_shopper:
                invoice.cancelled_by = by[:160]
                invoice.save(update_fields=["cancelled_by"])
            invoice.log(Event.Kind.REFUND_SENDING, by, claim.in_words(now.amount))

    def keep_back(self, claim: "RefundClaim", by: str):
        """The merchant has not sent it after all: the shopper may correct or withdraw it again."""
        with self._locked(claim) as (invoice, claim):
            if not claim.is_being_sent:
                return
            claim.sending_at = None
            claim.save(update_fields=["sending_at", "changed_at"])
            invoice.log(Event.Kind.TOUCHED, by, "the refund was not sent after all")

    @contextmanager
    def _locked(self, claim: "RefundClaim"):
        """The invoice first, as everywhere, then its claim; open pages hear of it afterwards."""
        with transaction.atomic():
            invoices = claim._meta.get_field("invoice").related_model.objects
            invoice = invoices.locked().get(pk=claim.invoice_id)
            yield invoice, self.select_for_update().get(pk=claim.pk)
            transaction.on_commit(lambda: live.announce(invoice))

    def record(self, claim: "RefundClaim", txid: str, shown: "Shown", by: str):
        """Puts down that the merchant has sent the money back. Raises AlreadyRefunded.

        `shown` is what the merchant was told to send, and so has sent, whatever the shopper or the
        network have changed meanwhile; a difference is left to a person.
        """
        with self._locked(claim) as (invoice, claim):
            if claim.refunded_at:
                raise AlreadyRefunded
            odd = claim.is_withdrawn or shown.amount != invoice.refundable
            odd = odd or shown.address != claim.address
            claim.address, claim.amount = shown.address, shown.amount
            claim.txid, claim.withdrawn_at = txid, None
            claim.refunded_at, claim.refunded_by = timezone.now(), by[:160]
            claim.save()
            invoice.log(Event.Kind.REFUNDED, by, f"{txid}, {claim.in_words(claim.amount)}")
            if not invoice.paid_at and not invoice.cancelled_at:
                invoice.call_off(by, "the money was sent back")
            if odd:
                reason = "the claim or the payments changed while the refund was sent"
                type(invoice).objects.call_for_review(invoice, reason, by)
            Mail.objects.about(invoice, Mail.Kind.REFUNDED)


class RefundClaimQuerySet(models.QuerySet):
    def open(self):
        """Those that a merchant has to do something about."""
        return self.filter(refunded_at=None, withdrawn_at=None)

    def refunded(self):
        return self.filter(refunded_at__isnull=False)

    def withdrawn(self):
        return self.filter(withdrawn_at__isnull=False)


class RefundClaim(models.Model):
    """Where a shopper wants money back; one per invoice, to be corrected until it is sent.

    The amount is never typed: until the merchant sends it, it is the invoice's `refundable`.
    """

    invoice = models.OneToOneField("Invoice", on_delete=models.PROTECT, related_name="refund_claim")
    address = models.CharField("to", max_length=ADDRESS_LENGTH)
    note = models.CharField(max_length=REFUND_NOTE_LENGTH, blank=True)
    claimed_at = models.DateTimeField(default=timezone.now)
    changed_at = models.DateTimeField(auto_now=True)
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    asked = models.BigIntegerField(
        default=0, help_text="Satoshis, as the books had them when it was last changed."
    )
    sending_at = models.DateTimeField(null=True, blank=True)

    amount = models.BigIntegerField(null=True, blank=True, help_text="Satoshis that were sent.")
    txid = models.CharField("transaction id", max_length=64, blank=True)
    refunded_at = models.DateTimeField(null=True, blank=True)
    refunded_by = models.CharField(max_length=160, blank=True)

    objects = RefundClaimManager.from_queryset(RefundClaimQuerySet)()

    class Meta:
        ordering = ["claimed_at", "pk"]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(
                    amount__isnull=True, txid="", refunded_at__isnull=True, refunded_by=""
                )
                | models.Q(amount__gt=0, refunded_at__isnull=False, withdrawn_at__isnull=True)
                & ~models.Q(txid="")
                & ~models.Q(refunded_by=""),
                name="refunded_wholly_or_not_at_all",
            ),
            models.CheckConstraint(
                condition=models.Q(sending_at__isnull=True) | models.Q(withdrawn_at__isnull=True),
                name="what_is_being_sent_is_not_withdrawn",
            ),
        ]
        indexes = [
            models.Index(
                fields=["claimed_at"],
                name="refund_claims_open",
                condition=models.Q(refunded_at=None, withdrawn_at=None),
            )
        ]

    def __str__(self):
        return f"Refund for {self.invoice}"

    @property
    def is_withdrawn(self) -> bool:
        return self.withdrawn_at is not None

    @property
    def is_open(self) -> bool:
        return self.refunded_at is None and not self.is_withdrawn

    @property
    def is_being_sent(self) -> bool:
        return self.sending_at is not None and self.refunded_at is None

    def refuse_if_sent(self):
        """For what the shopper may no longer do once the money is on its way."""
        if self.refunded_at:
            raise AlreadyRefunded
        if self.is_being_sent:
            raise BeingSent

    @property
    def sum(self) -> int:
        """The satoshis: as they were sent or, before that, as the books have them just now.

        While they are being sent, and after the claim was withdrawn, as they were then.
        """
        if self.amount is not None:
            return self.amount
        return self.asked if self.is_being_sent or self.is_withdrawn else self.invoice.refundable

    @property
    def bitcoin_uri(self) -> str:
        label = f"{settings.SHOP_NAME}, refund for {self.invoice.order}"
        return money.bitcoin_uri(self.address, self.sum, label)

    def in_words(self, amount: int) -> str:
        return f"{money.format_bitcoin(amount)} BTC to {self.address}"

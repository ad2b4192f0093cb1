import hashlib
import re
from datetime import datetime, timedelta

from django.conf import settings
from django.core.mail import EmailMultiAlternatives
from django.db import models, transaction
from django.db.models import Exists, F, OuterRef, Q
from django.template.loader import render_to_string
from django.utils import timezone, translation

from payments import tasks

from .timeline import Event

# Reminders are for orders of these days; what is older was lived with.
REMINDED_FOR = timedelta(days=7)
REMINDERS_AT_A_TIME = 100


class MailIsBusy(Exception):
    """Another worker is about it, or died over it; try again later."""


def payments_so_far(invoice) -> str:
    """An occasion: these payments, as known now. One more, or one less, is another occasion."""
    known = "|".join(f"{row.txid} {row.dropped_at}" for row in invoice.transactions.all())
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def payments_and_doubts_so_far(invoice) -> str:
    """An occasion: these payments, and the last line of the timeline that calls for a person."""
    doubt = invoice.timeline.filter(kind=Event.Kind.REVIEW).last()
    return f"{payments_so_far(invoice)}-{doubt.pk if doubt else 0}"


class MailManager(models.Manager):
    def about(self, invoice, *kinds, occasion: str | None = None):
        """Writes down the mails that an event causes and has them sent, each once per occasion.

        The occasion is a short word for the event. Most kinds know how to tell theirs.
        """
        for kind in kinds:
            to = settings.MERCHANT_EMAIL if kind in Mail.FOR_THE_MERCHANT else invoice.email
            if not to:
                continue
            tell_apart = Mail.OCCASIONS.get(kind, lambda invoice: "")
            which = tell_apart(invoice) if occasion is None else occasion
            mail, is_new = self.get_or_create(
                invoice=invoice, kind=kind, occasion=which, defaults={"to": to}
            )
            if is_new:
                tasks.send_mail.enqueue(mail.pk)

    def subscribe(self, invoice, email: str) -> bool:
        """Sends the invoice's mails there from now on, if they go nowhere yet; the link at once.

        The condition is part of the UPDATE: of two addresses at the same time one is taken.
        """
        invoices = type(invoice).objects
        with transaction.atomic():
            is_taken = email and invoices.filter(pk=invoice.pk, email="").update(email=email)
            if is_taken:
                invoice = invoices.get(pk=invoice.pk)
                self.about(invoice, Mail.Kind.PAID if invoice.paid_at else Mail.Kind.CREATED)
        return bool(is_taken)

    def ask_for_the_rest(self, invoice):
        """Tells the shopper that a payment came and was too little, once for each that did."""
        if invoice.is_short and not invoice.review:
            self.about(invoice, Mail.Kind.NEEDS)

    def remind(self):
        """Tells who paid too little that the quote has run out over it, once for each quote.

        No event does that but the clock, so that a worker looks every now and then.
        """
        now = timezone.now()
        for pk in self._left_short(now).values_list("pk", flat=True)[:REMINDERS_AT_A_TIME]:
            with transaction.atomic():
                invoice = self._left_short(now).locked().filter(pk=pk).first()
                if invoice:
                    occasion = f"quote-{invoice.expires_at:%Y%m%d%H%M%S}"
                    self.about(invoice, Mail.Kind.NEEDS, occasion=occasion)

    def _left_short(self, now: datetime):
        """Underpaid, the quote over, and nobody was written to about that quote's end."""
        Invoice = self.model._meta.get_field("invoice").related_model
        told = self.filter(invoice=OuterRef("pk"), kind=Mail.Kind.NEEDS)
        payments = Invoice._meta.get_field("transactions").related_model.objects
        unvalued = payments.filter(invoice=OuterRef("pk"), rate=None, dropped_at=None)
        over = Q(expires_at__lte=now - settings.QUOTE_GRACE, expires_at__gt=now - REMINDED_FOR)
        return (
            Invoice.objects.filter(over, settlement=Invoice.Settlement.UNDERPAID, review="")
            .exclude(email="")
            .exclude(Exists(told.filter(created_at__gte=OuterRef("expires_at"))))
            .exclude(Exists(unvalued))
            .order_by(F("expires_at"))
        )


class Mail(models.Model):
    """One message to one person, sent once; rows are made in the transaction of what they tell."""

    class Kind(models.TextChoices):
        CREATED = "created", "Link to the order"
        NEEDS = "needs", "Something is still to be paid"
        PAID = "paid", "Receipt and goods"
        UNCOVERED = "uncovered", "A payment is gone"
        REVIEW = "review", "A person looks at it"
        SOLD = "sold", "Something was sold"
        ALARM = "alarm", "An invoice needs review"
        CLAIMED = "claimed", "Money is asked back"
        REFUNDED = "refunded", "The refund"
        VANISHED = "vanished", "A payment is gone after the sale"

    FOR_THE_MERCHANT = {Kind.SOLD, Kind.ALARM, Kind.VANISHED, Kind.CLAIMED}
    # What may happen several times to one invoice, and how each time is told from the last.
    OCCASIONS = {
        Kind.NEEDS: payments_so_far,
        Kind.UNCOVERED: payments_so_far,
        Kind.VANISHED: payments_so_far,
        Kind.REVIEW: payments_and_doubts_so_far,
        Kind.ALARM: payments_and_doubts_so_far,
    }

    invoice = models.ForeignKey("Invoice", on_delete=models.PROTECT, related_name="mails")
    kind = models.CharField(max_length=12, choices=Kind)
    occasion = models.CharField(
        max_length=40, blank=True, help_text="Which event it tells of, where there may be several."
    )
    to = models.EmailField()
    created_at = models.DateTimeField(auto_now_add=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    overtaken_at = models.DateTimeField(
        null=True, blank=True, help_text="When it was no longer true, and so was not sent."
    )

    objects = MailManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["invoice", "kind", "occasion"], name="one_mail_for_each_occasion"
            )
        ]

    def __str__(self):
        return f"{self.get_kind_display()}, to {self.to}"

    def send(self):
        """Sends it, unless it was sent; raises MailIsBusy if another worker is just about it.

        A worker that dies between the mail server's yes and its own note of it makes the mail go
        out again. It then carries the same Message-ID, by which mail programs show it once.
        """
        now = timezone.now()
        # Over before the task's lease is, so that who takes the task over gets the mail as well.
        free = Q(claimed_at=None) | Q(claimed_at__lt=now - settings.TASK_LEASE / 2)
        unsent = Mail.objects.filter(pk=self.pk, sent_at=None, overtaken_at=None)
        if not unsent.filter(free).update(claimed_at=now):
            if unsent.exists():
                raise MailIsBusy(f"{self} was claimed by another worker.")
            return
        try:
            if self.is_overtaken():
                unsent.update(overtaken_at=now)
                return
            self.message().send()
        except Exception:
            unsent.update(claimed_at=None)
            raise
        with transaction.atomic():
            if unsent.update(sent_at=timezone.now()):
                self.invoice.log(Event.Kind.MAILED, "worker", str(self))

    def is_overtaken(self) -> bool:
        """Whether it asks for money that has come meanwhile: a mail server may be away for long."""
        if self.kind == self.Kind.NEEDS:
            return not self.invoice.is_short or bool(self.invoice.review)
        if self.kind == self.Kind.CLAIMED:
            return not (self.invoice.claim and self.invoice.claim.is_open)
        return self.kind == self.Kind.UNCOVERED and not self.invoice.outstanding

    @property
    def language(self) -> str:
        is_for_the_shopper = self.kind not in self.FOR_THE_MERCHANT
        return (is_for_the_shopper and self.invoice.language) or settings.LANGUAGE_CODE

    def message(self) -> EmailMultiAlternatives:
        """The same words as text and as HTML, in the language of whoever reads them."""
        with translation.override(self.language):
            subject = re.sub(r"[ \r\n]+", " ", self._rendered("subject.txt")).strip()
            text = re.sub(r"\n\s*\n", "\n\n", self._rendered("text.txt")).strip() + "\n"
            html = self._rendered("page.html")
        name = ".".join(filter(None, [self.kind, self.invoice.order_code, self.occasion]))
        # Nobody's "I am on holiday" shall answer it, says RFC 3834.
        headers = {"Message-ID": tasks.message_id(name), "Auto-Submitted": "auto-generated"}
        message = EmailMultiAlternatives(subject, text, to=[self.to], headers=headers)
        message.attach_alternative(html, "text/html")
        return message

    def _rendered(self, frame: str) -> str:
        """The kind's words in a frame: the subject alone, a text, or a page."""
        path = self.invoice.get_absolute_url()
        if self.kind in self.FOR_THE_MERCHANT:
            path = f"/admin/payments/invoice/{self.invoice_id}/change/"
        return render_to_string(
            f"payments/mail/{self.kind}.html",
            {
                "frame": f"payments/mail/frames/{frame}",
                "invoice": self.invoice,
                "is_over": timezone.now() >= self.invoice.expires_at,
                "url": settings.SITE_URL + path,
                "SHOP_NAME": settings.SHOP_NAME,
            },
        )

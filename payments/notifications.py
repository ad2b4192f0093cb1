"""Mails to shoppers and to the merchant: which are written when, and how they are sent.

Their rows are made in the transaction of what they tell; a worker sends them after the commit.
"""

import hashlib
import re
from datetime import timedelta

from django.conf import settings
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.db import transaction
from django.db.models import Exists, OuterRef, Q
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone, translation
from django.utils.encoding import punycode

from . import outbox, presentation, providers
from .models import Event, Invoice, Mail, PaymentAttempt, Transaction
from .settlement import Settlement

Kind = Mail.Kind

# Reminders are for orders of these days; what is older was lived with.
REMINDED_FOR = timedelta(days=7)
REMINDERS_AT_A_TIME = 100


class MailIsBusy(Exception):
    """Another worker is about it, or died over it; try again later."""


# Which mails there are


def payments_so_far(invoice: Invoice) -> str:
    """A dedupe key: these payments, as known now. One more, or one less, makes another key."""
    known = "|".join(f"{row.transaction_id} {row.dropped_at}" for row in invoice.transactions)
    return hashlib.sha256(known.encode()).hexdigest()[:16]


def payments_and_doubts_so_far(invoice: Invoice) -> str:
    """A dedupe key: these payments, and the last line of the timeline that calls for a person."""
    doubt = invoice.timeline.filter(kind=Event.Kind.REVIEW).last()
    return f"{payments_so_far(invoice)}-{doubt.pk if doubt else 0}"


# What may happen several times to one invoice, and how each time is told from the last.
DEDUPE_KEYS = {
    Kind.NEEDS: payments_so_far,
    Kind.OVERPAID: payments_so_far,
    Kind.UNCOVERED: payments_so_far,
    Kind.VANISHED: payments_so_far,
    Kind.REVIEW: payments_and_doubts_so_far,
    Kind.ALARM: payments_and_doubts_so_far,
}


def notify(invoice: Invoice, *kinds: str, dedupe_key: str | None = None):
    """Writes down the mails that an event causes and has them sent, each once per event.

    The dedupe key is a short word for the event. Most kinds know how to make theirs.
    """
    for kind in kinds:
        to = settings.MERCHANT_EMAIL if kind in Mail.FOR_THE_MERCHANT else invoice.email
        if not to:
            continue
        make_key = DEDUPE_KEYS.get(kind, lambda invoice: "")
        key = make_key(invoice) if dedupe_key is None else dedupe_key
        mail, is_new = Mail.objects.get_or_create(
            invoice=invoice, kind=kind, dedupe_key=key, defaults={"to": to}
        )
        # What was withdrawn before it was sent, and is true again, is sent after all.
        was_superseded = mail.superseded_at and Mail.objects.filter(pk=mail.pk).update(
            superseded_at=None, claimed_at=None
        )
        if is_new or was_superseded:
            outbox.enqueue(outbox.SEND_MAIL, mail.pk)


def subscribe(invoice: Invoice, email: str) -> bool:
    """Sends the invoice's mails there from now on, if they go nowhere yet; the link at once.

    The condition is part of the UPDATE: of two addresses at the same time one is taken.
    """
    with transaction.atomic():
        without = Invoice.objects.filter(pk=invoice.pk, email="")
        is_taken = email and without.update(email=email)
        if is_taken:
            invoice = Invoice.objects.get(pk=invoice.pk)
            notify(invoice, Kind.PAID if invoice.paid_at else Kind.CREATED)
    return bool(is_taken)


def ask_for_the_rest(invoice: Invoice):
    """Tells the shopper that a payment came and was too little, once for each that did."""
    if invoice.balance.is_short and not invoice.review:
        notify(invoice, Kind.NEEDS)


def remind():
    """Tells who paid too little that the quote has run out over it, once for each quote.

    No event does that but the clock, so that a worker looks every now and then.
    """
    now = timezone.now()
    pks = _left_short(now).order_by("expires_at").values_list("invoice_id", flat=True)
    for pk in pks[:REMINDERS_AT_A_TIME]:
        with transaction.atomic():
            invoice = Invoice.objects.locked().get(pk=pk)
            if _left_short(now).filter(invoice=pk).exists():
                key = f"quote-{invoice.expires_at:%Y%m%d%H%M%S}"
                notify(invoice, Kind.NEEDS, dedupe_key=key)


def _left_short(now):
    """Attempts of underpaid invoices whose quote is over, if nobody wrote about that end."""
    told = Mail.objects.filter(invoice=OuterRef("invoice"), kind=Kind.NEEDS)
    unvalued = Transaction.objects.filter(
        attempt__invoice=OuterRef("invoice"), rate=None, dropped_at=None
    )
    later = PaymentAttempt.objects.filter(invoice=OuterRef("invoice"), pk__gt=OuterRef("pk"))
    over = Q(expires_at__lte=now - settings.QUOTE_GRACE, expires_at__gt=now - REMINDED_FOR)
    return (
        PaymentAttempt.objects.filter(
            over, invoice__settlement=Settlement.UNDERPAID, invoice__review=""
        )
        .exclude(invoice__email="")
        .exclude(Exists(told.filter(created_at__gte=OuterRef("expires_at"))))
        .exclude(Exists(unvalued))
        .exclude(Exists(later))
    )


# How they are sent


def send(mail: Mail):
    """Sends it, unless it was sent; raises MailIsBusy if another worker is just about it.

    A worker that dies between the mail server's yes and its own note of it makes the mail go
    out again. It then carries the same Message-ID, by which mail programs show it once.
    """
    now = timezone.now()
    # Over before the task's lease is, so that who takes the task over gets the mail as well.
    free = Q(claimed_at=None) | Q(claimed_at__lt=now - settings.TASK_LEASE / 2)
    unsent = Mail.objects.filter(pk=mail.pk, sent_at=None, superseded_at=None)
    if not unsent.filter(free).update(claimed_at=now):
        if unsent.exists():
            raise MailIsBusy(f"{mail} was claimed by another worker.")
        return
    try:
        if is_superseded(mail):
            unsent.update(superseded_at=now)
            return
        message(mail).send()
    except Exception:
        unsent.update(claimed_at=None)
        raise
    with transaction.atomic():
        if unsent.update(sent_at=timezone.now()):
            mail.invoice.log(Event.Kind.MAILED, "worker", str(mail))


def is_superseded(mail: Mail) -> bool:
    """Whether it asks for money that has come meanwhile: a mail server may be away for long."""
    invoice = mail.invoice
    if mail.kind == Kind.NEEDS:
        return not invoice.balance.is_short or bool(invoice.review)
    if mail.kind == Kind.REFUND_REQUESTED:
        refund = invoice.attempt.refund
        return not (refund and refund.is_open)
    return mail.kind == Kind.UNCOVERED and not invoice.attempt.outstanding


def language_of(mail: Mail) -> str:
    is_for_the_shopper = not mail.is_for_the_merchant
    return (is_for_the_shopper and mail.invoice.language) or settings.LANGUAGE_CODE


def message(mail: Mail) -> EmailMultiAlternatives:
    """The same words as text and as HTML, in the language of whoever reads them."""
    with translation.override(language_of(mail)):
        subject = re.sub(r"[ \r\n]+", " ", _rendered(mail, "subject.txt")).strip()
        text = re.sub(r"\n\s*\n", "\n\n", _rendered(mail, "text.txt")).strip() + "\n"
        html = _rendered(mail, "page.html")
    name = ".".join(filter(None, [mail.kind, mail.invoice.order_code, mail.dedupe_key]))
    # Nobody's "I am on holiday" shall answer it, says RFC 3834.
    headers = {"Message-ID": message_id(name), "Auto-Submitted": "auto-generated"}
    reply_to = [settings.EMAIL_REPLY_TO] if settings.EMAIL_REPLY_TO else []
    letter = EmailMultiAlternatives(
        subject,
        text,
        to=[mail.to],
        headers=headers,
        reply_to=[] if mail.is_for_the_merchant else reply_to,
    )
    letter.attach_alternative(html, "text/html")
    return letter


def _rendered(mail: Mail, frame: str) -> str:
    """The kind's words in a frame: the subject alone, a text, or a page."""
    invoice = mail.invoice
    path = invoice.get_absolute_url()
    if mail.is_for_the_merchant:
        path = f"/admin/payments/invoice/{mail.invoice_id}/change/"
    return render_to_string(
        f"payments/mail/{mail.kind.replace('-', '_')}.html",
        {
            "frame": f"payments/mail/frames/{frame}",
            "invoice": invoice,
            "attempt": invoice.attempt,
            "balance": invoice.balance,
            "refund_url": settings.SITE_URL + reverse("payments:refund", args=[invoice.key]),
            "pay": presentation.PayTemplates(providers.get(invoice.attempt.provider)),
            "is_over": timezone.now() >= invoice.expires_at,
            "url": settings.SITE_URL + path,
            "SHOP_NAME": settings.SHOP_NAME,
        },
    )


def send_alarm(text: str):
    """Mails the merchant what cannot wait."""
    if settings.MERCHANT_EMAIL:
        name = f"alarm.{hashlib.sha256(text.encode()).hexdigest()[:24]}"
        EmailMessage(
            f"{settings.SHOP_NAME} needs you",
            text,
            to=[settings.MERCHANT_EMAIL],
            headers={"Message-ID": message_id(name)},
        ).send()


def message_id(name: str) -> str:
    """The same for the same mail, so that one which went out twice is shown once."""
    host = punycode(settings.DEFAULT_FROM_EMAIL.rpartition("@")[2].rstrip(">"))
    return f"<{name}@{host}>"

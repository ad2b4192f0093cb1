from django.conf import settings
from django.core.mail import EmailMessage
from django.db import models, transaction
from django.db.models import Q
from django.template.loader import render_to_string
from django.utils import timezone

from payments import tasks

from .timeline import Event


class MailIsBusy(Exception):
    """Another worker is about it, or died over it; try again later."""


class MailManager(models.Manager):
    def about(self, invoice, *kinds):
        """Writes down the mails that an event causes, each once per invoice, and has them sent."""
        for kind in kinds:
            to = settings.MERCHANT_EMAIL if kind in Mail.FOR_THE_MERCHANT else invoice.email
            if not to:
                continue
            mail, is_new = self.get_or_create(invoice=invoice, kind=kind, defaults={"to": to})
            if is_new:
                tasks.send_mail.enqueue(mail.pk)


class Mail(models.Model):
    """One message to one person, sent once; rows are made in the transaction of what they tell."""

    class Kind(models.TextChoices):
        PAID = "paid", "Receipt and goods"
        UNCOVERED = "uncovered", "A payment is gone"
        REVIEW = "review", "A person looks at it"
        SOLD = "sold", "Something was sold"
        ALARM = "alarm", "An invoice needs review"
        VANISHED = "vanished", "A payment is gone after the sale"

    FOR_THE_MERCHANT = {Kind.SOLD, Kind.ALARM, Kind.VANISHED}

    invoice = models.ForeignKey("Invoice", on_delete=models.PROTECT, related_name="mails")
    kind = models.CharField(max_length=12, choices=Kind)
    to = models.EmailField()
    created_at = models.DateTimeField(auto_now_add=True)
    claimed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)

    objects = MailManager()

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["invoice", "kind"], name="one_mail_of_each_kind")
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
        unsent = Mail.objects.filter(pk=self.pk, sent_at=None)
        if not unsent.filter(free).update(claimed_at=now):
            if unsent.exists():
                raise MailIsBusy(f"{self} was claimed by another worker.")
            return
        try:
            self.message().send()
        except Exception:
            unsent.update(claimed_at=None)
            raise
        with transaction.atomic():
            if unsent.update(sent_at=timezone.now()):
                self.invoice.log(Event.Kind.MAILED, "worker", str(self))

    def message(self) -> EmailMessage:
        """The first line of the template is the subject, the rest is the text."""
        context = {
            "invoice": self.invoice,
            "url": settings.SITE_URL + self.invoice.get_absolute_url(),
            "desk_url": f"{settings.SITE_URL}/admin/payments/invoice/{self.invoice_id}/change/",
            "SHOP_NAME": settings.SHOP_NAME,
        }
        text = render_to_string(f"payments/mail/{self.kind}.txt", context)
        subject, _, body = text.partition("\n")
        message_id = tasks.message_id(f"{self.kind}.{self.invoice.order_code}")
        return EmailMessage(
            subject.strip(), body.strip() + "\n", to=[self.to], headers={"Message-ID": message_id}
        )

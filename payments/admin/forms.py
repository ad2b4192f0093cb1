"""What staff fill in at the desk."""

import re

from django import forms
from django.core import signing

from payments import providers
from payments.models import Invoice, Refund, Transaction
from payments.models.callback import NOTE_LENGTH
from payments.providers.base import RefundsByHand
from payments.refunds import ShownRefund

# What a signature is for.
SHOWN = "payments.refund.shown"


class CancelForm(forms.Form):
    reason = forms.CharField(
        max_length=200, help_text="It is kept in the timeline; the shopper does not read it."
    )


class RemarkForm(forms.Form):
    remark = forms.CharField(max_length=NOTE_LENGTH, help_text="What you found out about it.")


class AttachForm(forms.Form):
    """To which order money belongs whose address no order has."""

    order = forms.CharField(max_length=40, help_text="The order code, like 7K3M-QX2P.")
    reason = forms.CharField(
        max_length=160, help_text="How you know that it belongs there; kept in the timeline."
    )

    def clean_order(self):
        code = re.sub(r"[\W_]", "", self.cleaned_data["order"]).upper()
        invoice = Invoice.objects.filter(order_code=code).first()
        if invoice is None:
            raise forms.ValidationError("There is no order with this code.")
        return invoice


class RefundSentForm(forms.ModelForm):
    """The merchant has sent the money back, and says with which transaction.

    The page's own figures come back signed: what it told to send is what was sent. If others stand
    on it by the time that a mistake is corrected, the merchant says which of them it was.
    """

    transaction_id = forms.CharField(
        label="Transaction id",
        help_text="Copy it here when you have sent the amount from your own wallet.",
        widget=forms.TextInput({"size": 70, "spellcheck": "false", "autocomplete": "off"}),
    )
    shown = forms.CharField(widget=forms.HiddenInput)
    # What the network says that the transaction pays there; None if it knows of nothing.
    seen_amount: int | None = None

    class Meta:
        model = Refund
        fields = ["transaction_id"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if "shown" in self.fields:
            self.fields["shown"].initial = figures(self.instance)

    @staticmethod
    def as_written(refund: Refund, given: str) -> str:
        """The transaction id as the network writes it; raises ValidationError."""
        provider = providers.get(refund.attempt.provider)
        is_by_hand = isinstance(provider, RefundsByHand)
        return provider.clean_transaction_id(given) if is_by_hand else given

    def clean_transaction_id(self):
        sent = self.as_written(self.instance, self.cleaned_data["transaction_id"])
        paid = Transaction.objects.of(self.instance.invoice)
        if paid.filter(transaction_id=sent).exists():
            raise forms.ValidationError("With this one the shopper paid you.")
        owed = self.instance.current_amount
        if self.seen_amount is not None and self.seen_amount < owed:
            seen, owed = map(self.instance.attempt.format, (self.seen_amount, owed))
            raise forms.ValidationError(f"This one pays {seen} there, and {owed} go back.")
        return sent

    def clean_shown(self):
        if shown := read_figures(self.cleaned_data["shown"], self.instance):
            return shown
        raise forms.ValidationError("Please open this page again.")

    def clean(self):
        before = self.cleaned_data.get("shown")
        now = read_figures(figures(self.instance), self.instance) or ShownRefund(
            self.instance.destination, 0
        )
        if self.errors and before and before != now:
            self._ask_which(before, now)

    def _ask_which(self, before: ShownRefund, now: ShownRefund):
        then = (self.data["shown"], f"{self._in_words(before)}, as this page said before")
        choices = [
            then,
            (figures(self.instance), f"{self._in_words(now)}, as it says now"),
        ]
        field = self.fields["shown"]
        field.label = "What you have sent"
        field.widget = forms.RadioSelect(choices=choices if now.amount else [then])
        told = "The request has changed meanwhile. Please look again: which is it?"
        self.add_error("shown", told)

    def _in_words(self, shown: ShownRefund) -> str:
        return f"{self.instance.attempt.format(shown.amount)} to {shown.destination}"


def figures(refund: Refund) -> str:
    """What the page tells to send, and where to, as only the shop can sign it."""
    told = [refund.pk, refund.destination, refund.current_amount, refund.transaction_id]
    return signing.dumps(told, salt=SHOWN)


def read_figures(signed: str, refund: Refund) -> ShownRefund | None:
    """Those figures, if they are of this refund and there was something to send."""
    try:
        pk, destination, amount, recorded = signing.loads(signed, salt=SHOWN)
    except (signing.BadSignature, ValueError):
        return None
    is_meant = pk == refund.pk and amount > 0
    return ShownRefund(destination, amount, recorded) if is_meant else None

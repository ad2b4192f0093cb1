import re

from django import forms
from django.conf import settings
from django.core import signing
from django.core.exceptions import ValidationError
from django.utils.encoding import punycode
from django.utils.translation import gettext_lazy as _

from . import addresses, money
from .basket import MAX_QUANTITY
from .models import RefundClaim
from .models.refunds import REFUND_NOTE_LENGTH, Shown

# What a signature is for.
SHOWN = "payments.refund.shown"

BITCOIN_LINK = re.compile(r"^bitcoin:([^?]*).*$", re.IGNORECASE | re.DOTALL)


class AddressField(forms.EmailField):
    """An e-mail address as people have one: no quotes, spaces or control characters.

    RFC 5321 allows them before the @, and Django with it; no mail of ours needs to find out who
    stumbles over them. Names of hosts in other scripts are kept as mail servers write them.
    """

    default_error_messages = {
        "required": _("Please give an e-mail address."),
        "invalid": _("This is not an e-mail address that we could write to."),
    }

    def clean(self, value):
        address = super().clean(value)
        name, at, host = address.rpartition("@")
        try:
            address = name + at + punycode(host)
        except UnicodeError as error:
            raise ValidationError(self.error_messages["invalid"]) from error
        if not re.fullmatch(r"[!#-~]*", address):
            raise ValidationError(self.error_messages["invalid"])
        return address


class EmailForm(forms.Form):
    email = AddressField(max_length=254)


class OptionalEmailForm(forms.Form):
    email = AddressField(max_length=254, required=False)


class FindForm(forms.Form):
    """An order code, however it was typed off, and the e-mail address that it was bought with."""

    code = forms.CharField(
        max_length=40,
        error_messages={"required": _("Please give the order code: eight letters and digits.")},
    )
    email = AddressField(max_length=254)

    def clean_code(self):
        return re.sub(r"[\W_]", "", self.cleaned_data["code"]).upper()


class QuantityForm(forms.Form):
    quantity = forms.IntegerField(min_value=0, max_value=MAX_QUANTITY)


class RefundForm(forms.Form):
    """Where the shopper of an invoice wants money back."""

    address = forms.CharField(max_length=200, label=_("Your bitcoin address"))
    note = forms.CharField(
        max_length=REFUND_NOTE_LENGTH,
        required=False,
        label=_("A note for the shop, if you like"),
        widget=forms.Textarea({"rows": 3}),
    )

    def __init__(self, *args, invoice, **kwargs):
        super().__init__(*args, **kwargs)
        self.invoice = invoice
        # An address is copied, not written: nothing may correct it or break it up.
        self.fields["address"].widget.attrs |= {
            "autocapitalize": "off",
            "autocomplete": "off",
            "autocorrect": "off",
            "spellcheck": "false",
        }

    def clean_address(self):
        """The address alone, as wallets also copy it as a bitcoin: link."""
        given = BITCOIN_LINK.sub(r"\1", self.cleaned_data["address"])
        if not addresses.is_valid(given, settings.BITCOIN_NETWORK):
            raise forms.ValidationError(
                _(
                    "This is not a whole bitcoin address. Please copy it from your wallet, where "
                    "it is found under “Receive”. A Lightning invoice or a public key will not do."
                )
            )
        address = addresses.normalize(given)
        if address == self.invoice.reference:
            raise forms.ValidationError(
                _(
                    "This is the shop’s own address, which you paid to. Please give one of your "
                    "own wallet."
                )
            )
        return address


class CancelForm(forms.Form):
    reason = forms.CharField(
        max_length=200, help_text="It is kept in the timeline; the shopper does not read it."
    )


class RefundPaidForm(forms.ModelForm):
    """The merchant has sent the money back, and says with which transaction.

    The page's own figures come back signed: what it told to send is what was sent. If others stand
    on it by the time that a mistake is corrected, the merchant says which of them it was.
    """

    txid = forms.CharField(
        label="Transaction id",
        help_text="Copy it here when you have sent the amount from your own wallet.",
        widget=forms.TextInput({"size": 70, "spellcheck": "false", "autocomplete": "off"}),
    )
    shown = forms.CharField(widget=forms.HiddenInput)

    class Meta:
        model = RefundClaim
        fields = ["txid"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        if "shown" in self.fields:
            self.fields["shown"].initial = figures(self.instance)

    def clean_txid(self):
        txid = self.cleaned_data["txid"].lower()
        if not re.fullmatch(r"[0-9a-f]{64}", txid):
            raise forms.ValidationError("A transaction id has 64 characters, 0 to 9 and a to f.")
        if self.instance.invoice.transactions.filter(txid=txid).exists():
            raise forms.ValidationError("With this one the shopper paid you.")
        return txid

    def clean_shown(self):
        if shown := read_figures(self.cleaned_data["shown"], self.instance):
            return shown
        raise forms.ValidationError("Please open this page again.")

    def clean(self):
        before = self.cleaned_data.get("shown")
        now = Shown(self.instance.address, self.instance.sum)
        if self.errors and before and before != now:
            self._ask_which(before, now)

    def _ask_which(self, before: Shown, now: Shown):
        then = (self.data["shown"], f"{in_words(before)}, as this page said before")
        choices = [then, (figures(self.instance), f"{in_words(now)}, as it says now")]
        field = self.fields["shown"]
        field.label = "What you have sent"
        field.widget = forms.RadioSelect(choices=choices if now.amount else [then])
        self.add_error("shown", "The claim has changed meanwhile. Please look again: which is it?")


def figures(claim: RefundClaim) -> str:
    """What the page tells to send, and where to, as only the shop can sign it."""
    return signing.dumps([claim.pk, claim.address, claim.sum], salt=SHOWN)


def read_figures(signed: str, claim: RefundClaim) -> Shown | None:
    """Those figures, if they are of this claim and there was something to send."""
    try:
        pk, address, amount = signing.loads(signed, salt=SHOWN)
    except (signing.BadSignature, ValueError):
        return None
    return Shown(address, amount) if pk == claim.pk and amount > 0 else None


def in_words(shown: Shown) -> str:
    return f"{money.format_bitcoin(shown.amount)} BTC to {shown.address}"

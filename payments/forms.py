import re

from django import forms
from django.core.exceptions import ValidationError
from django.utils.encoding import punycode
from django.utils.translation import gettext_lazy as _

from .models import PaymentAttempt
from .models.basket_line import MAX_QUANTITY
from .models.refund import REFUND_NOTE_LENGTH
from .providers.base import Provider, RefundsByHand


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
    """Where the shopper of an invoice wants money back, as far as the way to pay has to know."""

    address = forms.CharField(max_length=200)
    note = forms.CharField(
        max_length=REFUND_NOTE_LENGTH,
        required=False,
        label=_("A note for the shop, if you like"),
        widget=forms.Textarea({"rows": 3}),
    )

    def __init__(self, *args, attempt: PaymentAttempt, provider: Provider, **kwargs):
        super().__init__(*args, **kwargs)
        self.attempt, self.provider = attempt, provider
        if not isinstance(provider, RefundsByHand):
            del self.fields["address"]
            return
        self.fields["address"].label = provider.destination_label
        # It is copied, not written: nothing may correct it or break it up.
        self.fields["address"].widget.attrs |= {
            "autocapitalize": "off",
            "autocomplete": "off",
            "autocorrect": "off",
            "spellcheck": "false",
        }

    def clean_address(self):
        destination = self.provider.clean_destination(self.cleaned_data["address"])
        if destination == self.attempt.reference:
            raise forms.ValidationError(
                _(
                    "This is the shop’s own address, which you paid to. Please give one of your "
                    "own wallet."
                )
            )
        return destination

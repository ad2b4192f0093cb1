"""The forms of the settings page."""

from django import forms

from sandbox.models import FAULTS, Settings, Store, check_callback_url, check_key


class SettingsForm(forms.ModelForm):
    """The settings row; each API call's fault is a choice of its own."""

    class Meta:
        model = Settings
        exclude = ["faults"]  # noqa: DJ006 -- every other setting belongs on the page

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        for call, faults in FAULTS.items():
            self.fields[f"fault_{call}"] = forms.ChoiceField(
                label=call,
                choices=[(fault, fault.replace("_", " ")) for fault in faults],
                initial=self.instance.fault_of(call),
            )

    def save(self, commit=True):
        self.instance.faults = {call: self.cleaned_data[f"fault_{call}"] for call in FAULTS}
        return super().save(commit)

    def main_fields(self):
        return [self[name] for name in ("price", "price_drift")]

    def fault_fields(self):
        faults = [self[f"fault_{call}"] for call in FAULTS]
        return [*faults, self["callbacks"], self["websocket"]]

    def further_fields(self):
        shown = {bound.name for bound in [*self.main_fields(), *self.fault_fields()]}
        return [bound for bound in self if bound.name not in shown]


class NeverShownAgain(forms.URLInput):
    """A field that comes back empty even from a form with errors: what is in it is secret."""

    def format_value(self, value):
        return None


class StoreForm(forms.ModelForm):
    """A store. Its callback URL holds a secret, so it is never shown; empty keeps it."""

    new_callback = forms.CharField(
        required=False,
        max_length=1000,
        label="New callback URL",
        help_text="Leave it empty to keep the present one.",
        widget=NeverShownAgain(attrs={"autocomplete": "off"}),
        validators=[check_callback_url],
    )

    class Meta:
        model = Store
        fields = ["name", "wallet", "testmode"]

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.fields["wallet"].queryset = self.instance.account.wallets.all()

    def save(self, commit=True):
        self.instance.http_callback = (
            self.cleaned_data["new_callback"] or self.instance.http_callback
        )
        return super().save(commit)


class WalletForm(forms.Form):
    name = forms.CharField(required=False, max_length=100)
    address = forms.CharField(
        max_length=200,
        label="Extended public key",
        help_text="zpub for bc1q…, vpub for tb1q…; xpub, ypub, tpub and upub are known as well.",
        validators=[check_key],
    )

"""The wallet, to pay with.

Its whole state is in its query: `uri` (a bitcoin: link or an address), `return` (the way
back to the shop), and after a form was sent `said` and `txid` (what to tell).
"""

from urllib.parse import urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from sandbox import chain, conf
from sandbox.console.links import link_to, read_link, satoshis
from sandbox.console.said import what_to_say
from sandbox.models import Address, Transaction

# The buttons beside an unconfirmed transaction: the URL's word, and the person's.
ACTION_WORDS = [
    ("replace", "Replace, same payee"),
    ("take-back", "Replace, take it back"),
    ("drop", "Drop it"),
]


class PayForm(forms.Form):
    uri = forms.CharField(max_length=1000, widget=forms.HiddenInput)
    choice = forms.ChoiceField(
        choices=[(choice, choice) for choice in ("exact", "half", "more", "own")],
        widget=forms.HiddenInput,
    )
    amount = forms.CharField(required=False, max_length=30, label="Another amount, in BTC")
    rbf = forms.BooleanField(required=False, label="Replaceable (RBF)")

    def clean(self):
        cleaned = super().clean()
        self.link = read_link(cleaned.get("uri", ""))
        if not self.link.address:
            raise ValidationError(self.link.problem or "Whom shall it pay? Paste an address.")
        self.value = self.chosen_value(cleaned.get("choice"), cleaned.get("amount", ""))
        if not self.value:
            self.add_error("amount", "Give an amount such as 0.0005, of at most 8 decimals.")
        return cleaned

    def chosen_value(self, choice, amount):
        if choice == "own" or not self.link.value:
            return satoshis(amount)
        return amounts_of(self.link).get(choice)


def amounts_of(link):
    """Satoshis by button."""
    more = link.value + max(1, link.value // 10)
    return {"exact": link.value, "half": -(-link.value // 2), "more": more}


@never_cache
@require_safe
def wallet(request):
    link = read_link(request.GET.get("uri", ""))
    if link.value:
        remember(link)
    return wallet_page(request, link, PayForm())


def wallet_page(request, link, form, status=200):
    query = request.POST if request.method == "POST" else request.GET
    context = {
        "here": "wallet",
        "link": link,
        "form": form,
        "uri": query.get("uri", ""),
        "amounts": amounts_of(link) if link.value else {},
        "return_url": safe_return(request, query.get("return", "")),
        "payments": payments_to(link.address)[:10] if link.address else [],
        "watched": newest_watched(),
        "actions": ACTION_WORDS,
        "block_seconds": conf.block_seconds(),
        **what_to_say(request),
    }
    return render(request, "sandbox/wallet.html", context, status=status)


def remember(link):
    """Notes at a watched address what the last link asked for; saying it twice changes nothing."""
    Address.objects.filter(address=link.address).update(asked_value=link.value, label=link.label)


def newest_watched():
    watched = list(Address.objects.select_related("store")[:12])
    for row in watched:
        row.wallet_url = f"{reverse('sandbox:wallet')}?{urlencode({'uri': link_to(row)})}"
    return watched


def payments_to(address):
    return Transaction.objects.paying(address).prefetch_related("outputs")


def safe_return(request, url):
    """The way back to the shop, if it is on this host; else nothing."""
    return url if url_has_allowed_host_and_scheme(url, {request.get_host()}) else ""


def back_to_wallet(request, said, txid=""):
    """After a form: the wallet again, as it was, with a sentence about what happened."""
    kept = {name: request.POST[name] for name in ("uri", "return") if request.POST.get(name)}
    query = urlencode({**kept, "said": said, **({"txid": txid} if txid else {})})
    return redirect(f"{reverse('sandbox:wallet')}?{query}")


@never_cache
@require_POST
def pay(request):
    form = PayForm(request.POST)
    if not form.is_valid():
        return wallet_page(request, read_link(request.POST.get("uri", "")), form, status=400)
    try:
        payment = chain.pay([(form.link.address, form.value)], rbf=int(form.cleaned_data["rbf"]))
    except chain.ChainError as error:
        form.add_error("amount", str(error))
        return wallet_page(request, form.link, form, status=400)
    return back_to_wallet(request, "paid", payment.txid)

"""The pages for people: a wallet to pay with, an explorer, the callback log and the settings.

The wallet's whole state is in its query: `uri` (a bitcoin: link or an address), `return` (the way
back to the shop), and after a form was sent `said` and `txid` (what to tell).
"""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import parse_qs, quote, urlencode

from django import forms
from django.core.exceptions import ValidationError
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from sandbox import chain, conf, keys
from sandbox.models import (
    FAULTS,
    MAX_SATOSHIS,
    SATOSHIS_PER_BITCOIN,
    Account,
    Address,
    Attempt,
    Block,
    Delivery,
    Settings,
    Store,
    Transaction,
    Wallet,
    check_callback_url,
    check_key,
)
from sandbox.templatetags.sandbox_format import btc

SAID = {
    "paid": "Payment sent. It waits in the mempool for the next block.",
    "mined": "A block was mined.",
    "replaced": "The transaction was replaced: the old one is gone, a new one pays the same payee.",
    "taken_back": "The transaction was replaced: the money goes back to the customer.",
    "dropped": "The transaction was dropped. Nobody hears from it again.",
    "saved": "Saved.",
    "reset": "All faults are off.",
}


# The buttons beside an unconfirmed transaction: the URL's word, and the person's.
ACTION_WORDS = [
    ("replace", "Replace, same payee"),
    ("take-back", "Replace, take it back"),
    ("drop", "Drop it"),
]


# The wallet


@dataclass(frozen=True)
class PaymentLink:
    """What a bitcoin: link says. `value` is in satoshis, None when it names no amount."""

    address: str = ""
    value: int | None = None
    label: str = ""
    problem: str = ""


def read_link(text):
    """A PaymentLink from a bitcoin: link or a bare address; `problem` says what is wrong."""
    text = text.strip()
    if text[:8].lower() == "bitcoin:":
        text = text[8:]
    address, _, query = text.partition("?")
    address = keys.tidy_address(address)
    if not address:
        return PaymentLink()
    if not keys.is_payable(address):
        return PaymentLink(problem="This is no Bitcoin address. Copy it again, in full.")
    parameters = {name: values[0] for name, values in parse_qs(query).items()}
    value = satoshis(parameters.get("amount", ""))
    label = "".join(letter for letter in parameters.get("label", "") if letter.isprintable())
    return PaymentLink(address, value, label[:200])


def satoshis(bitcoins):
    """Whole satoshis of an amount in bitcoins; None if it is no such amount."""
    try:
        value = Decimal(bitcoins.strip()) * SATOSHIS_PER_BITCOIN
    except InvalidOperation:
        return None
    if not value.is_finite() or not 0 < value <= MAX_SATOSHIS or value != int(value):
        return None
    return int(value)


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


def link_to(watched):
    """The bitcoin: link that the address was last opened with, or a bare one."""
    if watched.asked_value is None:
        return f"bitcoin:{watched.address}"
    parameters = {"amount": btc(watched.asked_value)}
    if watched.label:
        parameters["label"] = watched.label
    return f"bitcoin:{watched.address}?{urlencode(parameters, quote_via=quote)}"


def payments_to(address):
    return Transaction.objects.paying(address).prefetch_related("outputs")


def safe_return(request, url):
    """The way back to the shop, if it is on this host; else nothing."""
    return url if url_has_allowed_host_and_scheme(url, {request.get_host()}) else ""


def what_to_say(request):
    payment = Transaction.objects.with_txid(request.GET.get("txid", "")).first()
    return {"said": SAID.get(request.GET.get("said", ""), ""), "said_payment": payment}


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
    payment = chain.pay([(form.link.address, form.value)], rbf=int(form.cleaned_data["rbf"]))
    return back_to_wallet(request, "paid", payment.txid)


@never_cache
@require_POST
def change_chain(request, action):
    """The buttons beside a transaction, and "Mine a block". Each leads back to where it was."""
    txid = request.POST.get("txid", "")
    try:
        said, txid = CHAIN_ACTIONS[action](txid)
    except KeyError:
        raise Http404(action) from None
    except chain.ChainError as error:
        return render(request, "sandbox/problem.html", {"problem": error}, status=409)
    came_from = request.POST.get("from", "")
    if came_from == "transaction" and txid:
        return redirect(f"{reverse('sandbox:transaction', args=[txid])}?said={said}")
    if came_from in ("explorer", "callback_log"):
        return redirect(f"{reverse(f'sandbox:{came_from}')}?said={said}")
    return back_to_wallet(request, said, txid)


def mine_a_block(txid):
    chain.mine(1)
    return "mined", txid


def replace_same(txid):
    return "replaced", chain.replace(txid).txid


def take_back(txid):
    return "taken_back", chain.replace(txid, address=chain.CUSTOMER).txid


def drop(txid):
    chain.drop(txid)
    return "dropped", txid


CHAIN_ACTIONS = {
    "mine": mine_a_block,
    "replace": replace_same,
    "take-back": take_back,
    "drop": drop,
}


# The explorer


@never_cache
@require_safe
def explorer(request):
    context = {
        "here": "explorer",
        "height": chain.tip(),
        "blocks": Block.objects.prefetch_related("transactions")[:10],
        "payments": Transaction.objects.prefetch_related("outputs")[:25],
        **what_to_say(request),
    }
    return render(request, "sandbox/explorer.html", context)


@never_cache
@require_safe
def address(request, address):
    address = keys.tidy_address(address)
    if not keys.is_payable(address):
        raise Http404(address)
    watched = Address.objects.filter(address=address).select_related("store").first()
    payments = payments_to(address)[:50]
    if watched is None and not payments:
        raise Http404(address)
    received = sum(payment.value_to(address) for payment in payments if payment.is_alive)
    context = {
        "here": "explorer",
        "address": address,
        "watched": watched,
        "payments": payments,
        "received": received,
    }
    return render(request, "sandbox/address.html", context)


@never_cache
@require_safe
def transaction(request, txid):
    payment = get_object_or_404(Transaction.objects.prefetch_related("outputs"), txid=txid)
    context = {
        "here": "explorer",
        "payment": payment,
        "actions": ACTION_WORDS,
        "deliveries": payment.deliveries.select_related("store"),
        **what_to_say(request),
    }
    return render(request, "sandbox/transaction.html", context)


# The callback log


@never_cache
@require_safe
def callback_log(request):
    attempts = Attempt.objects.select_related("delivery__store", "delivery__transaction")
    waiting = Delivery.objects.filter(state__in=[Delivery.State.DUE, Delivery.State.HELD])
    context = {
        "here": "callbacks",
        "attempts": attempts[:50],
        "waiting": waiting.select_related("store", "transaction")[:20],
        **what_to_say(request),
    }
    return render(request, "sandbox/callbacks.html", context)


# The settings


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


@never_cache
def settings(request):
    """The one form of the settings row; below it, a form for each store."""
    row = Settings.objects.current()
    if request.method == "POST" and "reset" in request.POST:
        row.forget_faults()
        return saved("reset")
    form = SettingsForm(request.POST or None, instance=row)
    if form.is_valid():
        form.save()
        return saved("saved")
    return settings_page(request, form=form, status=400 if form.is_bound else 200)


def settings_page(request, status=200, **forms_in_use):
    """The page; `forms_in_use` are the ones that came back with errors."""
    context = {
        "here": "settings",
        "form": SettingsForm(instance=Settings.objects.current()),
        "accounts": [describe(account, forms_in_use) for account in all_accounts()],
        **what_to_say(request),
        **forms_in_use,
    }
    return render(request, "sandbox/settings.html", context, status=status)


def all_accounts():
    for key in conf.api_keys():
        Account.objects.get_or_create(api_key=key)
    return Account.objects.prefetch_related("wallets", "stores").order_by("pk")


def describe(account, forms_in_use):
    """An account with a form for each of its stores, and one for a new store and wallet."""
    bound = forms_in_use.get("store_form")
    prefix = f"account{account.pk}"
    return {
        "account": account,
        "wallets": account.wallets.all(),
        "stores": [
            bound
            if bound and bound.instance.pk == store.pk
            else StoreForm(instance=store, auto_id=f"store{store.pk}_%s")
            for store in account.stores.all()
        ],
        "new_store": StoreForm(instance=Store(account=account), auto_id=f"{prefix}_store_%s"),
        "new_wallet": forms_in_use.get(f"wallet_form_{account.pk}")
        or WalletForm(auto_id=f"{prefix}_wallet_%s"),
    }


def saved(said):
    return redirect(f"{reverse('sandbox:settings')}?said={said}")


def account_of(request):
    pk = request.POST.get("account", "")
    return get_object_or_404(Account, pk=pk if pk.isdecimal() else 0)


@never_cache
@require_POST
def save_store(request, pk=None):
    store = get_object_or_404(Store, pk=pk) if pk else Store(account=account_of(request))
    if pk and "delete" in request.POST:
        store.delete()
        return saved("saved")
    form = StoreForm(request.POST, instance=store)
    if form.is_valid():
        form.save()
        return saved("saved")
    return settings_page(request, status=400, store_form=form)


@never_cache
@require_POST
def add_wallet(request):
    account = account_of(request)
    form = WalletForm(request.POST)
    if form.is_valid():
        Wallet.objects.get_or_create(
            account=account,
            address=form.cleaned_data["address"],
            defaults={"name": form.cleaned_data["name"]},
        )
        return saved("saved")
    return settings_page(request, status=400, **{f"wallet_form_{account.pk}": form})

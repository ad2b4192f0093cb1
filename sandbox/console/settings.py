"""The page of all settings: the one row, and the stores and wallets of each account."""

from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST

from sandbox import conf
from sandbox.console.forms import SettingsForm, StoreForm, WalletForm
from sandbox.console.said import what_to_say
from sandbox.models import Account, Settings, Store, Wallet


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

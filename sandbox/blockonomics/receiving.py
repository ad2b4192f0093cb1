"""new_address, price and currencies: what a shop asks before it is paid."""

from django.http import HttpResponse, JsonResponse
from iso4217 import Currency

from sandbox.blockonomics.endpoint import endpoint
from sandbox.blockonomics.errors import (
    Refused,
    gap_limit_reached,
    no_matching_wallet,
    unsupported_crypto,
)
from sandbox.blockonomics.price import RATES, price_of
from sandbox.models import Address, Settings

# Coins that the API knows. Every wallet here holds the first.
COINS = ("BTC", "USDT")


@endpoint("POST", fault="new_address")
def new_address(request, account, settings):
    """Parameters are read from the query only, as at Blockonomics; the body is ignored."""
    query, fault = request.GET, settings.fault_of("new_address")
    refuse_fault(fault, settings)
    crypto = query.get("crypto", "BTC")
    if crypto not in COINS:
        raise unsupported_crypto()
    store, wallet, matched = choose_wallet(
        account, query.get("match_callback", ""), query.get("match_account", "")
    )
    if crypto != "BTC":
        raise no_matching_wallet()
    reset = query.get("reset") == "1"
    address = last_or_new(wallet, store, settings, last=reset or fault == "duplicate_address")
    answer = {"address": address.address}
    if reset:
        answer["reset"] = 1
    if matched:
        answer["account"] = wallet.address
    return JsonResponse(answer)


def refuse_fault(fault, settings):
    if fault == "gap_limit":
        raise gap_limit_reached(settings)
    if fault == "banned":
        raise Refused(settings.refused_http_status, "You are banned", 1004, "legacy")
    if fault == "disabled":
        message = "Merchant disabled: low balance or unpaid bill"
        raise Refused(settings.refused_http_status, message, 1005, "legacy")


def choose_wallet(account, match_callback, match_account):
    """(store or None, wallet, whether a parameter chose them). Refused if nothing fits."""
    wallets = account.wallets.all()
    if not wallets:
        message = "This require you to add an xpub in your wallet watcher"
        raise Refused(500, message, 1001, "legacy")
    stores = list(account.stores.select_related("wallet"))
    if match_callback:
        return first_with_wallet(s for s in stores if match_callback in s.http_callback)
    if match_account:
        wallet = next((w for w in wallets if match_account in w.address), None)
        return wallet_match(wallet, stores)
    if len(stores) > 1:
        raise Refused(400, "Specify store using match_callback parameter", 1032, "nested")
    if stores:
        store, wallet, _ = first_with_wallet(stores)
        return store, wallet, False
    return only_wallet(wallets)


def first_with_wallet(stores):
    for store in stores:
        if store.wallet is not None:
            return store, store.wallet, True
    raise no_matching_wallet()


def wallet_match(wallet, stores):
    if wallet is None:
        raise no_matching_wallet()
    return next((s for s in stores if s.wallet_id == wallet.pk), None), wallet, True


def only_wallet(wallets):
    if len(wallets) > 1:
        message = "You have multiple xPubs in your wallet watcher"
        raise Refused(500, message, 1002, "legacy")
    return None, wallets[0], False


def last_or_new(wallet, store, settings, last):
    """The address given last, if that is wanted and there is one; else the next one."""
    testmode = store is not None and store.testmode
    newest = wallet.addresses.filter(index__isnull=testmode).first()
    if last and newest:
        return newest
    limit = wallet.gap_limit or settings.gap_limit
    if not testmode and wallet.unused_in_a_row >= limit:
        raise gap_limit_reached(settings)
    return Address.objects.issue(wallet, store)


@endpoint("GET", fault="price", key=False)
def price(request, account, settings):
    crypto = request.GET.get("crypto", "BTC")
    found = price_of(crypto, request.GET.get("currency", "USD").upper(), settings.price)
    # Written by hand: a JSON number with all its decimals, without a detour through float.
    body = '{"price": null}' if found is None else f'{{"price": {found:f}}}'
    return HttpResponse(body, content_type="application/json")


@endpoint("GET", key=False)
def currencies(request, account, settings):
    if settings.currencies_shape == Settings.CurrenciesShape.CODES:
        return JsonResponse(list(RATES), safe=False)
    named = [{"code": code, "name": Currency(code).currency_name} for code in RATES]
    return JsonResponse(named, safe=False)

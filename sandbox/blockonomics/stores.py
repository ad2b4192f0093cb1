"""Stores and wallets of an account: /api/v2/…"""

from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError
from django.db.transaction import atomic
from django.http import JsonResponse

from sandbox.blockonomics.endpoint import endpoint, find, read_json
from sandbox.blockonomics.errors import invalid_parameter, not_found, unsupported_crypto
from sandbox.blockonomics.lookup import balance_of
from sandbox.blockonomics.receiving import COINS
from sandbox.models import Store, Wallet


def wallet_json(wallet):
    return {
        "id": wallet.pk,
        "name": wallet.name,
        "emailid": wallet.account.emailid,
        "crypto": "BTC",
        "address": wallet.address,
        "xpub_index": wallet.xpub_index,
        "gap_limit": wallet.gap_limit,
        "created_at": wallet.created_at.isoformat(),
    }


def store_json(store, with_wallets=True):
    described = {
        "id": store.pk,
        "name": store.name,
        "emailid": store.account.emailid,
        "http_callback": store.http_callback,
    }
    if with_wallets:
        described["wallets"] = wallets_of(store)
    return described


def wallets_of(store):
    return [wallet_json(store.wallet)] if store.wallet else []


def data(content):
    return JsonResponse({"data": content})


def save(thing, body, **fields):
    """Takes over what the body holds of these fields (name: type); Refused if it does not fit."""
    for name, kind in fields.items():
        if name in body:
            if type(body[name]) is not kind:
                raise invalid_parameter(name)
            setattr(thing, name, body[name])
    try:
        with atomic():
            thing.full_clean(validate_unique=False, validate_constraints=False)
            thing.save()
    except (ValidationError, IntegrityError, DataError) as error:
        raise invalid_parameter(
            " ".join(getattr(error, "messages", ["it cannot be stored"]))
        ) from error
    return thing


@endpoint("GET", "POST")
def stores(request, account, settings):
    if request.method == "POST":
        store = Store(account=account)
        return data(store_json(save(store, read_json(request), name=str, http_callback=str)))
    with_wallets = request.GET.get("wallets") == "true"
    found = account.stores.select_related("wallet__account", "account")
    return data([store_json(store, with_wallets) for store in found])


@endpoint("GET", "POST", "DELETE")
def store(request, account, settings, store_id):
    found = find(account.stores, store_id, "Store")
    if request.method == "DELETE":
        found.delete()
        return data({"id": int(store_id)})
    if request.method == "POST":
        save(found, read_json(request), name=str, http_callback=str)
    return data(store_json(found))


@endpoint("GET", "POST")
def store_wallets(request, account, settings, store_id):
    """A store has one BTC wallet: attaching another replaces it."""
    found = find(account.stores, store_id, "Store")
    if request.method == "POST":
        wallet_id = read_json(request).get("wallet_id")
        if type(wallet_id) is not int:
            raise invalid_parameter("wallet_id")
        found.wallet = find(account.wallets, wallet_id, "Wallet")
        found.save(update_fields=["wallet"])
    return data({"wallets": wallets_of(found)})


@endpoint("DELETE")
def store_wallet(request, account, settings, store_id, wallet_id):
    found = find(account.stores, store_id, "Store")
    if found.wallet_id != int(wallet_id):
        raise not_found("Wallet")
    found.wallet = None
    found.save(update_fields=["wallet"])
    return data({"wallets": []})


@endpoint("GET", "POST")
def wallets(request, account, settings):
    if request.method == "GET":
        return data([wallet_json(wallet) for wallet in account.wallets.select_related("account")])
    body = read_json(request)
    crypto = body.get("crypto", "BTC")
    if crypto not in COINS:
        raise unsupported_crypto()
    if crypto != "BTC":
        raise invalid_parameter("only BTC wallets can be added")
    wallet = Wallet(account=account)
    return data(wallet_json(save(wallet, body, name=str, address=str, gap_limit=int)))


@endpoint("GET", "POST", "DELETE")
def wallet(request, account, settings, wallet_id):
    found = find(account.wallets, wallet_id, "Wallet")
    if request.method == "DELETE":
        found.delete()
        return data({"id": int(wallet_id)})
    if request.method == "POST":
        save(found, read_json(request), name=str, gap_limit=int)
    described = wallet_json(found)
    if request.GET.get("balance") == "true":
        described["balance"] = wallet_balance(found, settings)
    return data(described)


def wallet_balance(wallet, settings):
    """The balance in satoshis, and in US dollars as strings with two decimals."""
    addresses = list(wallet.addresses.values_list("address", flat=True))
    sums = balance_of(wallet.address, addresses)
    return {
        "confirmed_sats": sums["confirmed"],
        "unconfirmed_sats": sums["unconfirmed"],
        "confirmed_fiat": f"{sums['confirmed'] * settings.price / 10**8:.2f}",
        "unconfirmed_fiat": f"{sums['unconfirmed'] * settings.price / 10**8:.2f}",
        "fiat_currency": "USD",
        "total_addresses": len(addresses),
    }

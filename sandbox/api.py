"""Blockonomics' HTTP API: /api/…, with the answers that its documentation and its clients show."""

import asyncio
import json
from dataclasses import dataclass
from functools import wraps

from asgiref.sync import sync_to_async
from django.core.cache import cache
from django.core.exceptions import ValidationError
from django.db import DataError, IntegrityError
from django.db.transaction import atomic
from django.http import HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from sandbox import conf, keys
from sandbox.models import (
    CONFIRMED,
    Account,
    Address,
    Settings,
    Store,
    Transaction,
    Wallet,
    received,
)
from sandbox.price import CURRENCIES, price_of

MAX_ADDRESSES = 100
MAX_TRANSACTIONS = 200
STATUS_NAMES = ["Unconfirmed", "Partially Confirmed", "Confirmed"]


# Errors


@dataclass
class Refused(Exception):
    """An answer that is no success. `shape` is the documented one; the settings may choose."""

    status: int
    message: str
    code: int | None = None
    shape: str = "message"

    def response(self, error_shape):
        shape = self.shape if error_shape == "documented" else error_shape
        return JsonResponse(self.body(shape), status=self.status)

    def body(self, shape):
        nested = {"message": self.message}
        if self.code:
            nested["code"] = self.code
        return {
            "message": {"message": self.message},
            "legacy": {"status": self.status, "message": self.message},
            "nested": {"error": nested},
            "string": {"error": self.message},
        }[shape]


def login_required():
    return Refused(401, "This function requires you to login")


def invalid_parameter(detail=""):
    message = f"Invalid API parameter: {detail}" if detail else "Invalid API parameter"
    return Refused(400, message, 1010, "nested")


def not_found(what):
    return Refused(404, f"{what} not found")


def no_matching_wallet():
    return Refused(500, "Could not find matching xpub", 1003, "legacy")


GAP_LIMIT_MESSAGES = {
    1006: "Gap limit exceeded",
    1008: "Gap limit error: too many addresses with no payments",
    1009: "Gap limit error: unavailable gap limit funds",
}


def gap_limit_reached(settings):
    code = settings.gap_limit_code
    return Refused(settings.gap_limit_http_status, GAP_LIMIT_MESSAGES[code], code, "legacy")


# What every call has in common


def endpoint(*methods, fault=None, key=True):
    """A view from answer(request, account, settings, **captured).

    It lets in the methods, acts out the fault of the settings, and asks for the API key. `fault`
    names the call in the settings; `key` False means public (account is None), and the name of a
    setting means that the setting decides.
    """

    def decorate(answer):
        def respond(request, **captured):
            settings = Settings.objects.current()
            try:
                if request.method not in methods:
                    return HttpResponseNotAllowed(methods)
                if fault and (faulty := act_out(settings.fault_of(fault), settings)):
                    return faulty
                needs_key = getattr(settings, key) if isinstance(key, str) else key
                account = signed_in(request) if needs_key else None
                return answer(request, account, settings, **captured)
            except Refused as refused:
                return refused.response(settings.error_shape)

        # The waiting is done outside of the thread, so that no lock and no thread is held.
        @csrf_exempt
        @wraps(answer)
        async def view(request, **captured):
            response = await sync_to_async(respond)(request, **captured)
            if seconds := getattr(response, "held_for_seconds", 0):
                await asyncio.sleep(seconds)
            return response

        return view

    return decorate


def act_out(fault, settings):
    """The response of a fault, or None: then the call goes on. Some faults are Refused."""
    if fault == "timeout":
        response = HttpResponse(status=504)
        response.held_for_seconds = float(settings.timeout_seconds)
        return response
    if fault == "401":
        raise login_required()
    if fault.isdigit():
        return HttpResponse(f"<h1>Error {fault}</h1>", status=int(fault))
    return {
        "garbage": HttpResponse("<!doctype html><title>Just a moment…</title>"),
        "empty": HttpResponse("", content_type="application/json"),
        "empty_address": JsonResponse({"address": ""}),
        "null": JsonResponse({"price": None}),
        "zero": JsonResponse({"price": 0}),
    }.get(fault)


def signed_in(request):
    """The account of `Authorization: Bearer KEY`; Refused with 401 if there is none."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or key.strip() not in conf.api_keys():
        raise login_required()
    return Account.objects.get_or_create(api_key=key.strip())[0]


def read_json(request):
    """The JSON object in the body; an empty body is an empty object."""
    try:
        body = json.loads(request.body or b"{}")
    except ValueError as error:
        raise invalid_parameter("the body is no JSON") from error
    if not isinstance(body, dict):
        raise invalid_parameter("the body is no JSON object")
    return body


def find(queryset, pk, what):
    found = queryset.filter(pk=pk).first()
    if found is None:
        raise not_found(what)
    return found


# Receiving payments


@endpoint("POST", fault="new_address")
def new_address(request, account, settings):
    """Parameters are read from the query only, as at Blockonomics; the body is ignored."""
    query, fault = request.GET, settings.fault_of("new_address")
    refuse_fault(fault, settings)
    if query.get("crypto", "BTC") != "BTC":
        raise Refused(422, "Unsupported crypto")
    store, wallet, matched = choose_wallet(
        account, query.get("match_callback", ""), query.get("match_account", "")
    )
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
        wallet = next((w for w in wallets if w.address.startswith(match_account)), None)
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
    # Written by hand: a JSON number with two decimals, without a detour through float.
    body = '{"price": null}' if found is None else f'{{"price": {found:.2f}}}'
    return HttpResponse(body, content_type="application/json")


@endpoint("GET", key=False)
def currencies(request, account, settings):
    if settings.currencies_shape == Settings.CurrenciesShape.CODES:
        return JsonResponse(list(CURRENCIES), safe=False)
    named = [{"code": code, "name": name} for code, (name, _) in CURRENCIES.items()]
    return JsonResponse(named, safe=False)


# Looking up what was paid


@endpoint("GET", "POST", fault="searchhistory")
def searchhistory(request, account, settings):
    """The newest 200 transactions of the addresses, taken together as one wallet."""
    limit_rate(account, settings)
    addresses = [a for asked in read_addresses(request) for a in expand(account, asked)]
    touching = Transaction.objects.alive().touching(*addresses).prefetch_related("outputs")
    entries = {"pending": [], "history": []}
    for payment in touching[:MAX_TRANSACTIONS]:
        final = payment.status == CONFIRMED
        entries["history" if final else "pending"].append(entry_of(payment, addresses))
    return JsonResponse(entries)


def entry_of(payment, addresses):
    spent = payment.total + payment.fee if payment.payer in addresses else 0
    involved = [a for a in [payment.payer, *payment.addresses] if a in addresses]
    entry = {
        "time": int(payment.seen_at.timestamp()),
        "addr": list(dict.fromkeys(involved)),
        "value": payment.value_to(*addresses) - spent,
        "txid": payment.txid,
    }
    if payment.status < CONFIRMED:
        entry["status"] = payment.status
    if not payment.status and payment.rbf:
        entry["rbf"] = payment.rbf
    return entry


@endpoint("GET", "POST", fault="balance")
def balance(request, account, settings):
    limit_rate(account, settings)
    response = [balance_of(asked, expand(account, asked)) for asked in read_addresses(request)]
    return JsonResponse({"response": response})


def balance_of(asked, addresses):
    return {
        "confirmed": sum(received(address, confirmed=True) for address in addresses),
        "addr": asked,
        "unconfirmed": sum(received(address, confirmed=False) for address in addresses),
    }


@endpoint("GET", fault="tx_detail", key="tx_detail_needs_key")
def tx_detail(request, account, settings):
    payment = Transaction.objects.alive().with_txid(request.GET.get("txid", "")).first()
    if payment is None:
        raise not_found("Transaction")
    detail = {
        "status": STATUS_NAMES[payment.status],
        "fee": payment.fee,
        "vout": [{"value": o.value, "address": o.address} for o in payment.outputs.all()],
        "vin": [{"value": payment.total + payment.fee, "address": payment.payer}],
        "time": int(payment.seen_at.timestamp()),
        "size": payment.size,
    }
    if not payment.status and payment.rbf:
        detail["rbf"] = payment.rbf
    return JsonResponse(detail)


def limit_rate(account, settings):
    """Refused with 429 after so many calls in one minute. The status is a guess."""
    allowed = settings.search_calls_per_minute
    if not allowed:
        return
    counter = f"sandbox-search-{account.pk}"
    cache.add(counter, 0, timeout=60)
    if cache.incr(counter) > allowed:
        raise Refused(429, f"Rate limit: {allowed} requests per minute")


def read_addresses(request):
    """The addresses and extended public keys asked for. Refused if one of them is neither."""
    given = request.GET.get("addr") if request.method == "GET" else read_json(request).get("addr")
    asked = given.split() if isinstance(given, str) else []
    asked = list(dict.fromkeys(keys.tidy_address(text) for text in asked))
    if not asked or not all(keys.is_address(text) or keys.is_key(text) for text in asked):
        raise Refused(400, "invalid_input")
    if len(asked) > MAX_ADDRESSES:
        raise Refused(400, f"invalid_input: more than {MAX_ADDRESSES} addresses")
    return asked


def expand(account, asked):
    """The addresses that a key has given to the account; an address stands for itself."""
    if not keys.is_key(asked):
        return [asked]
    given = Address.objects.filter(wallet__account=account, wallet__address=asked)
    return list(given.values_list("address", flat=True))


# Stores and wallets


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
    if body.get("crypto", "BTC") != "BTC":
        raise Refused(422, "Unsupported crypto")
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

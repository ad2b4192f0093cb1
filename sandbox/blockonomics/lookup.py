"""searchhistory, balance, tx_detail and tx: what was paid, asked for afterwards."""

import re

from django.core.cache import cache
from django.http import JsonResponse
from django.shortcuts import redirect

from sandbox import keys
from sandbox.blockonomics.endpoint import endpoint, read_json
from sandbox.blockonomics.errors import Refused, not_found
from sandbox.models import CONFIRMED, Address, Transaction, received

MAX_ADDRESSES = 100
MAX_TRANSACTIONS = 200
SEPARATORS = re.compile(r"[\s,]+")
STATUS_NAMES = ["Unconfirmed", "Partially Confirmed", "Confirmed"]


@endpoint("GET", "POST", fault="searchhistory")
def searchhistory(request, account, settings):
    """The newest 200 transactions of the addresses, taken together as one wallet."""
    limit_rate(account, settings)
    addresses = [a for asked in read_addresses(request) for a in expand(account, asked)]
    touching = (
        Transaction.objects.alive().touching(*addresses).prefetch_related("inputs", "outputs")
    )
    entries = {"pending": [], "history": []}
    for payment in touching[:MAX_TRANSACTIONS]:
        final = payment.status == CONFIRMED
        entries["history" if final else "pending"].append(entry_of(payment, addresses))
    return JsonResponse(entries)


def entry_of(payment, addresses):
    involved = [a for a in [*payment.payers, *payment.addresses] if a in addresses]
    entry = {
        "time": int(payment.seen_at.timestamp()),
        "addr": list(dict.fromkeys(involved)),
        "value": payment.value_to(*addresses) - payment.value_from(*addresses),
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
        "vin": [{"value": i.value, "address": i.address} for i in payment.inputs.all()],
        "time": int(payment.seen_at.timestamp()),
        "size": payment.size,
    }
    if not payment.status and payment.rbf:
        detail["rbf"] = payment.rbf
    return JsonResponse(detail)


@endpoint("GET", key=False)
def tx(request, account, settings):
    """The link of a receipt, for people: it leads to the explorer, gone transactions included."""
    payment = Transaction.objects.with_txid(request.GET.get("txid", "")).first()
    if payment is None:
        raise not_found("Transaction")
    return redirect("sandbox:transaction", payment.txid)


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
    asked = SEPARATORS.split(given) if isinstance(given, str) else []
    asked = list(dict.fromkeys(keys.tidy_address(text) for text in asked if text))
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

"""What is on the chain, and the log of the callbacks about it."""

from django.http import Http404
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from sandbox import chain, keys
from sandbox.console.said import what_to_say
from sandbox.console.wallet import ACTION_WORDS, payments_to
from sandbox.models import Address, Attempt, Block, Delivery, Transaction


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
    payment = get_object_or_404(
        Transaction.objects.prefetch_related("inputs", "outputs"), txid=txid
    )
    context = {
        "here": "explorer",
        "payment": payment,
        "actions": ACTION_WORDS,
        "deliveries": payment.deliveries.select_related("store"),
        **what_to_say(request),
    }
    return render(request, "sandbox/transaction.html", context)


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

"""One invoice, for whoever has its key."""

import logging
from math import ceil

from django.conf import settings
from django.http import Http404, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from payments import providers, qr
from payments.basket import Basket
from payments.goods import GoodsResponse
from payments.limits import limited
from payments.models import Event, Invoice, InvoiceLine
from payments.purchases import Purchases

from .trouble import telling_of_trouble

logger = logging.getLogger(__name__)


# The picture of each state, in the tab and beside the heading.
ICONS = {
    "waiting": "img/waiting.svg",
    "valuing": "img/moving.svg",
    "underpaid": "img/attention.svg",
    "expired": "img/attention.svg",
    "seen": "img/moving.svg",
    "confirming": "img/moving.svg",
    "paid": "img/paid.svg",
    "cancelled": "img/attention.svg",
}


def state_of(invoice, settlement) -> str:
    """The settlement as a shopper tells it apart: payments/invoice_<state>.html tells of it."""
    if settlement == invoice.Settlement.UNDERPAID and invoice.has_unvalued:
        return "valuing"
    if settlement == invoice.Settlement.CONFIRMING and sum(done for _, done in invoice.steps()) < 2:
        return "seen"
    return str(settlement)


@never_cache
@require_safe
def invoice(request, key):
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    now = timezone.now()
    settlement = found.standing(now)
    if settlement in (found.Settlement.CONFIRMING, found.Settlement.PAID):
        Basket(request.session).take_out(found)
    Purchases(request.session).note(found)
    provider = providers.get(found.provider)
    state = state_of(found, settlement)
    return render(
        request,
        f"payments/invoice_{state}.html",
        {
            "invoice": found,
            "settlement": settlement,
            "state": state,
            "icon": ICONS[state],
            "revision": found.revision(now),
            "steps": found.steps(),
            "has_dropped": any(row.dropped_at for row in found.transactions.all()),
            "seconds_left": max(0, ceil((found.expires_at - now).total_seconds())),
            "qr_code": qr.of_payment(found.reference, found.outstanding),
            "socket_url": provider.socket_url(found.reference),
            "demo_wallet_url": _demo_wallet_url(request, found),
        },
    )


def _demo_wallet_url(request, invoice):
    """Where the sandbox's wallet pays this invoice; nowhere in a real shop."""
    if not settings.SANDBOX:
        return ""
    back = request.build_absolute_uri(invoice.get_absolute_url())
    query = urlencode({"uri": invoice.bitcoin_uri, "return": back})
    return f"{settings.BLOCKONOMICS_URL}/?{query}"


@never_cache
@require_safe
def invoice_status(request, key):
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    now = timezone.now()
    books = found.books
    return JsonResponse(
        {
            "order": found.order,
            "status": found.status,
            "settlement": found.standing(now),
            "due": found.due,
            "outstanding": found.outstanding,
            "received": books.received,
            "confirmed": books.confirmed,
            "overpaid": found.overpaid,
            "replaceable": found.has_replaceable,
            "late": found.has_late,
            "asset": found.asset,
            "address": found.reference,
            "rate": f"{found.rate.normalize():f}",
            "currency": found.currency,
            "total": str(found.total),
            "expires_at": found.expires_at.isoformat(),
            "paid_at": found.paid_at.isoformat() if found.paid_at else None,
            "revision": found.revision(now),
        }
    )


# Without a referrer, browsers name no origin either, and the CSRF check would refuse the form. The
# key guards this door instead: a stranger's page does not know it, and no cookie gives authority.
@csrf_exempt
@require_POST
@limited("quotes")
@telling_of_trouble
def quote(request, key):
    """A fresh quote on the same address, if the old one is over or too little came in."""
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    found.requote(providers.get(found.provider))
    return redirect(found)


@never_cache
@require_safe
def download(request, key, line):
    """The goods, once paid; any other combination of key and line is a 404."""
    bought = Invoice.objects.with_key(key)
    found = get_object_or_404(InvoiceLine.objects.deliverable(), invoice__in=bought, pk=line)
    try:
        response = GoodsResponse(found.goods)
        if request.method == "GET":
            found.invoice.log(Event.Kind.DOWNLOADED, "shopper", found.title)
        return response
    except FileNotFoundError as error:
        logger.error("The file of product %s is not in the goods folder.", found.product_id)
        raise Http404 from error

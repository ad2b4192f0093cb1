"""One invoice, for whoever has its key."""

import logging
from math import ceil

from django.http import Http404, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST, require_safe

from catalogue.downloads import hand_over, is_whole
from payments import presentation, providers, quoting
from payments.actors import actor
from payments.models import Event, Invoice, InvoiceLine
from payments.providers.base import PushesBySocket
from payments.purchases import remember_purchase
from payments.rate_limits import limited
from payments.templatetags.money import plain_fiat

from .provider_errors import explaining_provider_errors

logger = logging.getLogger(__name__)


@never_cache
@require_safe
def invoice(request, key):
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    now = timezone.now()
    settlement = found.displayed_settlement(now)
    attempt, state = found.attempt, presentation.state_of(found, now)
    provider = providers.get(attempt.provider)
    pushes = isinstance(provider, PushesBySocket)
    response = render(
        request,
        "payments/invoice/page.html",
        {
            "invoice": found,
            "attempt": attempt,
            "balance": found.balance_at(now),
            "pay": presentation.PayTemplates(provider),
            "settlement": settlement,
            "state": state,
            "heading": presentation.heading(found, state),
            "revision": presentation.revision(found, now),
            "status": presentation.status_of(found),
            "steps": presentation.steps(found),
            "blocks_needed": presentation.blocks_needed(found),
            "has_dropped": any(row.dropped_at for row in found.transactions),
            "seconds_left": max(0, ceil((found.expires_at - now).total_seconds())),
            "socket_url": provider.socket_url(attempt.reference) if pushes else "",
        },
    )
    return remember_purchase(request, response, found)


@never_cache
@require_safe
def invoice_status(request, key):
    """What a program or the page itself wants to know; amounts in the asset's smallest unit."""
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    now, attempt = timezone.now(), found.attempt
    tally = attempt.tally
    return JsonResponse(
        {
            "order": found.order,
            "status": presentation.status_of(found),
            "settlement": found.displayed_settlement(now),
            "due": attempt.due,
            "outstanding": attempt.outstanding,
            "received": tally.received,
            "confirmed": tally.confirmed,
            "overpaid": tally.excess,
            "replaceable": found.has_replaceable,
            "late": found.has_late,
            "asset": attempt.asset_code,
            "address": attempt.reference,
            "rate": f"{attempt.rate.normalize():f}",
            "currency": found.currency,
            "total": plain_fiat(found.total, found.currency),
            "expires_at": attempt.expires_at.isoformat(),
            "paid_at": found.paid_at.isoformat() if found.paid_at else None,
            "revision": presentation.revision(found, now),
        }
    )


# Without a referrer, browsers name no origin either, and the CSRF check would refuse the form. The
# key guards this door instead: a stranger's page does not know it, and no cookie gives authority.
@csrf_exempt
@require_POST
@limited("quotes")
@explaining_provider_errors
def quote(request, key):
    """A fresh quote, if the old one is over or too little came in."""
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    quoting.requote(found, providers.get(found.attempt.provider), actor(request))
    return redirect(found)


@never_cache
@require_safe
def download(request, key, line):
    """The goods, once paid; any other combination of key and line is a 404."""
    bought = Invoice.objects.with_key(key)
    found = get_object_or_404(InvoiceLine.objects.deliverable(), invoice__in=bought, pk=line)
    try:
        response = hand_over(request, found.goods, found.file_name)
        if is_whole(request, response):
            found.invoice.log(Event.Kind.DOWNLOADED, actor(request), found.title)
        return response
    except FileNotFoundError as error:
        logger.error("The file of product %s is not in the goods folder.", found.product_id)
        raise Http404 from error

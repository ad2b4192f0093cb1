"""What a shopper reads when one more unpaid invoice would be one too many: addresses are scarce."""

import logging

from django.conf import settings
from django.shortcuts import render
from django.utils import timezone

from . import outbox
from .models import Invoice, PaymentAttempt
from .providers.base import LimitsUnusedAddresses, Provider

logger = logging.getLogger(__name__)

# Whoever cannot be served now may try again after so long: a payment takes minutes.
PAUSE_SECONDS = 600


def too_many_open(request, visitor: str, provider: Provider):
    """The page for a purchase that would take one address too many; None if it would not.

    429 if this visitor's own open invoices are too many, 503 if those of the whole shop are.
    """
    own = list(Invoice.objects.open().filter(visitor=visitor)[:20])
    if 0 < settings.MAX_OPEN_INVOICES_PER_VISITOR <= len(own):
        wait = own[0].expires_at - timezone.now()
        return turn_away(request, own, max(1, round(wait.total_seconds())), status=429)
    most = settings.MAX_OPEN_INVOICES if isinstance(provider, LimitsUnusedAddresses) else 0
    recent = PaymentAttempt.objects.filter(created_at__gte=timezone.now() - settings.WATCH_LIFETIME)
    if 0 < most <= recent.unused_in_a_row(provider.slug)[: max(0, most)].count():
        text = (
            f"{most} invoices in a row are unpaid, so no new address is asked for. If this is no "
            "attack, raise MAX_OPEN_INVOICES together with the wallet's gap limit."
        )
        logger.error(text)
        outbox.alarm_hourly(text)
        return turn_away(request, own, PAUSE_SECONDS, status=503)
    return None


def turn_away(request, invoices, seconds: int, status: int):
    response = render(
        request,
        "payments/too_many_open.html",
        {"invoices": invoices, "own": status == 429, "minutes": -(-seconds // 60)},
        status=status,
    )
    response["Retry-After"] = str(seconds)
    return response

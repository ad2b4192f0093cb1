"""Money to a reference that no invoice has: after a restore from a backup, say."""

from datetime import timedelta

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from . import outbox
from .models import Callback, Event, Invoice, PaymentAttempt
from .money import Asset
from .providers.base import PricesInMarket, Provider


class ReferenceIsUsed(Exception):
    """An invoice has that reference by now."""


def alarm_once(callback: Callback):
    """Tells the merchant of such money, once for each reference."""
    told = Callback.objects.filter(
        provider=callback.provider,
        reference=callback.reference,
        outcome=Callback.Outcome.UNKNOWN_REFERENCE,
    )
    if told.exclude(pk=callback.pk).exists():
        return
    outbox.alarm(
        f"{callback.provider} reports a payment of {callback.amount} (in the smallest unit) to "
        f"{callback.reference}, transaction {callback.transaction_id}. No order has this address. "
        "If you restored a backup, the order may be lost; look into the inbox of callbacks at "
        f"the desk, where you can attach it to an order or note what it is:\n\n"
        f"{settings.SITE_URL}/admin/payments/callback/?q={callback.reference}"
    )


def attach(provider: Provider, reference: str, invoice: Invoice, reason: str, by: str, rate):
    """Makes the reference one more way to pay the invoice; its callbacks can be processed then.

    Nobody was promised anything there: what came counts at `rate`, the market's of today. Raises
    ReferenceIsUsed.
    """
    is_priced = isinstance(provider, PricesInMarket)
    asset = provider.asset if is_priced else Asset.fiat(invoice.currency)
    long_ago = timezone.now() - timedelta(days=settings.CALLBACK_RETENTION_DAYS)
    with transaction.atomic():
        invoice = Invoice.objects.locked().get(pk=invoice.pk)
        if PaymentAttempt.objects.filter(asset_code=asset.code, reference=reference).exists():
            raise ReferenceIsUsed(reference)
        PaymentAttempt.objects.create(
            invoice=invoice,
            provider=provider.slug,
            asset_code=asset.code,
            asset_decimals=asset.decimals,
            reference=reference,
            rate=rate,
            due=0,
            quoted_at=long_ago,
            expires_at=long_ago,
        )
        invoice.log(Event.Kind.STAFF_ACTION, by, f"attached {reference}: {reason}")

"""{% load bitcoin %}: what the templates below payments/pay/bitcoin/ show."""

from django import template
from django.conf import settings
from django.utils.http import urlencode

from . import explorer, qr, uri

register = template.Library()


@register.filter
def explorer_url(txid: str) -> str:
    """{{ payment.transaction_id|explorer_url }} → https://…, or nothing without an explorer"""
    return explorer.url(txid)


@register.filter
def qr_code(attempt):
    """{{ attempt|qr_code }} → an inline SVG of the address and what is still due"""
    return qr.of_payment(attempt.reference, attempt.outstanding)


@register.filter
def payment_uri(attempt) -> str:
    """{{ attempt|payment_uri }} → bitcoin:tb1q…?amount=…, which opens a wallet"""
    label = f"{settings.SHOP_NAME} {attempt.invoice.order}"
    return uri.payment_uri(attempt.reference, attempt.outstanding, label)


@register.simple_tag(takes_context=True)
def demo_wallet_url(context, attempt) -> str:
    """Where the demo's wallet pays this attempt; nowhere in a real shop."""
    if not settings.SANDBOX_WALLET_URL:
        return ""
    back = context["request"].build_absolute_uri(attempt.invoice.get_absolute_url())
    query = urlencode({"uri": payment_uri(attempt), "return": back})
    return f"{settings.SANDBOX_WALLET_URL}?{query}"

from decimal import ROUND_HALF_UP, Decimal

from django import template
from django.conf import settings

from payments.money import format_bitcoin

register = template.Library()

CENT = Decimal("0.01")


@register.filter
def fiat(amount: Decimal, currency: str = "") -> str:
    """{{ invoice.total|fiat:invoice.currency }} → 1,234.50 USD"""
    rounded = Decimal(amount).quantize(CENT, rounding=ROUND_HALF_UP)
    return f"{rounded:,}\u00a0{currency or settings.SHOP_CURRENCY}"


@register.filter
def bitcoin(satoshis: int) -> str:
    """{{ invoice.due|bitcoin }} → 0.00012345"""
    return format_bitcoin(satoshis)

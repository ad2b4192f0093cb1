from decimal import ROUND_HALF_UP, Context, Decimal

from django import template
from django.conf import settings
from django.utils.formats import number_format

from payments.money import format_bitcoin, to_satoshis

register = template.Library()

CENT = Decimal("0.01")
# The price of bitcoin moves by more than the fourth digit while one looks at a page.
ROUGHLY = Context(prec=3)


@register.filter
def fiat(amount: Decimal, currency: str = "") -> str:
    """{{ invoice.total|fiat:invoice.currency }} → 1,234.50 USD, or as the page's language has it"""
    rounded = Decimal(amount).quantize(CENT, rounding=ROUND_HALF_UP)
    digits = number_format(rounded, 2, use_l10n=True, force_grouping=True)
    return f"{digits}\u00a0{currency or settings.SHOP_CURRENCY}"


@register.filter
def bitcoin(satoshis: int) -> str:
    """{{ invoice.due|bitcoin }} → 0.00012345, in every language: people copy it into wallets"""
    return format_bitcoin(satoshis)


@register.filter
def about_bitcoin(amount: Decimal, rate: Decimal) -> str:
    """{{ product.price|about_bitcoin:rate }} → 0.000123, for people who compare prices"""
    rough = int(ROUGHLY.create_decimal(to_satoshis(amount, rate)))
    return format_bitcoin(rough).rstrip("0").rstrip(".")

from decimal import Context, Decimal

from django import template
from django.conf import settings
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from payments import money
from payments.providers.base import MarketPrice

register = template.Library()

# A market price moves by more than the fourth digit while one looks at a page.
ROUGHLY = Context(prec=3)


@register.filter
def fiat(amount: Decimal, currency: str = "") -> str:
    """{{ invoice.total|fiat:invoice.currency }} → 1,234.50 USD, or as the page's language has it"""
    code = currency or settings.SHOP_CURRENCY
    amount = money.rounded(Decimal(amount), code)
    decimals = max(0, -amount.as_tuple().exponent)
    digits = number_format(amount, decimals, use_l10n=True, force_grouping=True)
    return f"{digits}\u00a0{code}"


@register.filter
def plain_fiat(amount: Decimal, currency: str = "") -> str:
    """{{ product.price|plain_fiat }} → 1234.50, for programs"""
    return str(money.rounded(Decimal(amount), currency or settings.SHOP_CURRENCY))


@register.filter
def units(amount: int, attempt) -> str:
    """{{ attempt.due|units:attempt }} → 0.00012345 BTC, its digits alike in every language"""
    parts = {"amount": attempt.asset.format(amount), "asset": attempt.asset_code}
    # Translators: an amount and the code of its asset; languages part them by different spaces.
    return _("%(amount)s %(asset)s") % parts


@register.filter
def plain_units(amount: int, attempt) -> str:
    """{{ attempt.due|plain_units:attempt }} → 0.00012345, without the asset's code"""
    return attempt.asset.format(amount)


@register.filter
def approximate(amount: Decimal, price: MarketPrice) -> str:
    """{{ product.price|approximate:price }} → 0.000123 BTC, for people who compare prices"""
    rough = int(ROUGHLY.create_decimal(price.asset.to_units(amount, price.rate)))
    return f"{Decimal(price.asset.format(rough)).normalize():f} {price.asset.code}"

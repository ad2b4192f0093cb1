"""What one coin costs: the dollar price of the settings times fixed rates."""

import random
from decimal import ROUND_HALF_UP, Decimal

from sandbox.models import Settings

CENT = Decimal("0.01")

# Units of each currency for one US dollar. They never change: a demo needs round figures, not news.
CURRENCIES = {
    "USD": ("US Dollar", Decimal(1)),
    "EUR": ("Euro", Decimal("0.92")),
    "GBP": ("Pound Sterling", Decimal("0.79")),
    "JPY": ("Japanese Yen", Decimal("151.20")),
    "CHF": ("Swiss Franc", Decimal("0.89")),
    "CAD": ("Canadian Dollar", Decimal("1.37")),
    "AUD": ("Australian Dollar", Decimal("1.52")),
    "NZD": ("New Zealand Dollar", Decimal("1.65")),
    "CNY": ("Chinese Yuan", Decimal("7.24")),
    "HKD": ("Hong Kong Dollar", Decimal("7.81")),
    "SGD": ("Singapore Dollar", Decimal("1.35")),
    "INR": ("Indian Rupee", Decimal("83.50")),
    "KRW": ("South Korean Won", Decimal("1370")),
    "THB": ("Thai Baht", Decimal("36.40")),
    "IDR": ("Indonesian Rupiah", Decimal("16050")),
    "MYR": ("Malaysian Ringgit", Decimal("4.72")),
    "PHP": ("Philippine Peso", Decimal("57.30")),
    "VND": ("Vietnamese Dong", Decimal("25400")),
    "BRL": ("Brazilian Real", Decimal("5.15")),
    "MXN": ("Mexican Peso", Decimal("17.10")),
    "ARS": ("Argentine Peso", Decimal("880")),
    "SEK": ("Swedish Krona", Decimal("10.65")),
    "NOK": ("Norwegian Krone", Decimal("10.80")),
    "DKK": ("Danish Krone", Decimal("6.87")),
    "PLN": ("Polish Zloty", Decimal("3.98")),
    "CZK": ("Czech Koruna", Decimal("23.20")),
    "HUF": ("Hungarian Forint", Decimal("362")),
    "TRY": ("Turkish Lira", Decimal("32.20")),
    "ZAR": ("South African Rand", Decimal("18.60")),
    "ILS": ("Israeli Shekel", Decimal("3.70")),
    "AED": ("UAE Dirham", Decimal("3.67")),
    "NGN": ("Nigerian Naira", Decimal("1480")),
}


def price_of(crypto, currency, dollars_per_bitcoin):
    """Units of the currency for one whole coin, to the cent; None for an unknown pair."""
    dollars = {"BTC": dollars_per_bitcoin, "USDT": Decimal(1)}.get(crypto)
    if dollars is None or currency not in CURRENCIES:
        return None
    _, rate = CURRENCIES[currency]
    return (dollars * rate).quantize(CENT, ROUND_HALF_UP)


def move():
    """One small random step of the price. Whoever sets a price at the same moment wins."""
    settings = Settings.objects.current()
    if not settings.price_step_percent:
        return
    step = settings.price_step_percent * random.randint(-1000, 1000) / 100_000  # noqa: S311
    price = max(CENT, (settings.price * (1 + step)).quantize(CENT, ROUND_HALF_UP))
    Settings.objects.filter(pk=1, price=settings.price).update(price=price)

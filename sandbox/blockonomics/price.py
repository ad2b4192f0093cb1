"""What one coin costs: the dollar price of the settings times fixed rates."""

import csv
import random
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path

from sandbox.models import Settings

CENT = Decimal("0.01")


def read_rates():
    """{code: units for one US dollar}, for every currency of ISO 4217 that is money."""
    with Path(__file__).with_name("rates.csv").open(newline="") as file:
        return {row["code"]: Decimal(row["per_dollar"]) for row in csv.DictReader(file)}


# They never change: a demo needs round figures, not news.
RATES = read_rates()


def price_of(crypto, currency, dollars_per_bitcoin):
    """Units of the currency for one whole coin; None for an unknown pair.

    They are whole hundredths, unless the coin is worth less than one of them.
    """
    dollars = {"BTC": dollars_per_bitcoin, "USDT": Decimal(1)}.get(crypto)
    if dollars is None or currency not in RATES:
        return None
    exact = dollars * RATES[currency]
    return exact if exact < CENT else exact.quantize(CENT, ROUND_HALF_UP)


def move():
    """One small random step of the price. Whoever sets a price at the same moment wins."""
    settings = Settings.objects.current()
    if not settings.price_step_percent:
        return
    step = settings.price_step_percent * random.randint(-1000, 1000) / 100_000  # noqa: S311
    price = max(CENT, (settings.price * (1 + step)).quantize(CENT, ROUND_HALF_UP))
    Settings.objects.filter(pk=1, price=settings.price).update(price=price)

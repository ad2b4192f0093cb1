"""Every payment service that the shop knows, so that old invoices always find theirs."""

from decimal import Decimal

from django.conf import settings
from django.utils.module_loading import import_string

from ..policy import Policy
from .base import MarketPrice, PricesInMarket, Provider, ProviderError

PROVIDERS = {
    "blockonomics": "payments.providers.blockonomics.Blockonomics",
}


def get(slug: str) -> Provider:
    """The provider of that name; KeyError if there is none."""
    return import_string(PROVIDERS[slug])()


def ways_to_pay() -> list[Provider]:
    """The providers that shoppers may choose from, in the merchant's order."""
    return [get(slug) for slug in settings.WAYS_TO_PAY]


def default() -> Provider:
    """The way to pay that is offered first."""
    return get(settings.WAYS_TO_PAY[0])


def configured() -> list[Provider]:
    """Every provider that can be asked, offered or not: their attempts stay watched."""
    return [provider for provider in map(get, PROVIDERS) if provider.is_configured()]


def smallest_price(currency: str) -> Decimal:
    """The least that one of the ways to pay can take, in fiat; 0 where that is not known.

    Asks the services whose prices move; call it outside of database transactions.
    """
    return min((_smallest_price(provider, currency) for provider in ways_to_pay()), default=0)


def _smallest_price(provider: Provider, currency: str) -> Decimal:
    if not isinstance(provider, PricesInMarket):
        return Decimal(0)
    smallest = Policy.of(settings).smallest_payment(provider.asset.code)
    try:
        return provider.asset.to_fiat(smallest, provider.market_rate(currency))
    except ProviderError:
        return Decimal(0)


def known_price(currency: str) -> MarketPrice | None:
    """The price of the first asset on offer that has one, to show prices by; asks nobody."""
    for provider in ways_to_pay():
        if isinstance(provider, PricesInMarket):
            rate = provider.cached_rate(currency)
            return MarketPrice(rate, provider.asset) if rate else None
    return None

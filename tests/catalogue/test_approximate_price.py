"""Prices in bitcoin beside those in fiat: roughly, and only where that costs no time."""

import threading
from decimal import Decimal

import pytest
from django.core.cache import cache

from payments.bitcoin import BITCOIN
from payments.providers import blockonomics
from payments.providers.base import MarketPrice
from payments.templatetags.money import approximate
from tests.conftest import RATE

KEY = "blockonomics-price-USD"


def asked(service) -> int:
    return sum("/api/price" in call.request.url for call in service.calls)


def back():
    """Waits until whoever was sent for a price is back."""
    with blockonomics.asking_for_a_rate:
        pass


@pytest.mark.parametrize(
    ("price", "shown"),
    [
        ("10.00", "0.0001"),
        ("12.34", "0.000123"),
        ("0.01", "0.0000001"),
        ("1999.99", "0.02"),
        ("1234567.89", "12.3"),
        ("100000.00", "1"),
    ],
)
def test_a_price_is_told_in_three_digits(price, shown):
    assert approximate(Decimal(price), MarketPrice(RATE, BITCOIN)) == f"{shown} BTC"


@pytest.mark.parametrize("path", ["/", "/products/product-1/", "/basket/"])
def test_a_known_rate_stands_beside_the_price(client, make_product, path):
    product = make_product(price="12.34")
    client.post(f"/basket/{product.pk}/")
    cache.set(KEY, RATE)

    assert "about 0.000123 BTC" in client.get(path).content.decode()


def test_an_unknown_rate_is_left_out_and_there_on_the_next_page(
    client, make_product, service, prices_in_the_background
):
    make_product(price="12.34")

    first = client.get("/").content.decode()
    back()
    second = client.get("/").content.decode()

    assert "BTC" not in first
    assert "about 0.000123 BTC" in second
    assert asked(service) == 1


def test_nobody_waits_and_only_one_is_sent(client, make_product, service, prices_in_the_background):
    make_product()
    answering = threading.Event()
    usual = blockonomics.Client.price

    def slow(self, currency):
        assert answering.wait(30)
        return usual(self, currency)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blockonomics.Client, "price", slow)
        for _ in range(3):
            assert "BTC" not in client.get("/").content.decode()
            cache.delete("blockonomics-asked-USD")  # as if time had passed
        answering.set()
        back()

    assert asked(service) == 1


def test_a_service_in_trouble_is_left_alone_for_a_while(
    client, make_product, service, prices_in_the_background, caplog
):
    make_product()
    service.answers["price"] = (500, "")

    for _ in range(3):
        assert client.get("/").status_code == 200
        back()

    assert asked(service) == 1
    assert "Prices are shown without bitcoin" in caplog.text

    service.answers.clear()
    cache.delete("blockonomics-asked-USD")
    client.get("/")
    back()
    assert "about 0.0001 BTC" in client.get("/").content.decode()

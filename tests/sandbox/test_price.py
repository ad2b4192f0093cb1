"""GET /api/price and /api/currencies."""

import json
from decimal import Decimal

import pytest
from iso4217 import Currency

from sandbox.blockonomics import price
from sandbox.models import Settings

pytestmark = pytest.mark.django_db

# Codes of ISO 4217 for bonds, for accounts between states, for tests and for no currency at all.
UNITS_OF_NO_MONEY = {"XBA", "XBB", "XBC", "XBD", "XSU", "XUA", "XTS", "XXX"}
CODES = {currency.code for currency in Currency}


def test_the_price_is_a_json_number_for_everybody(api, change):
    change(price=Decimal("65000.10"))

    response = api("GET", "price", key=None, currency="USD", crypto="BTC")

    assert response.content == b'{"price": 65000.10}'
    assert response["Content-Type"] == "application/json"


def test_dollars_and_bitcoin_are_what_is_meant_when_nothing_is_said(api, change):
    change(price=Decimal("65000"))

    assert json.loads(api("GET", "price", key=None).content, parse_float=Decimal) == {
        "price": Decimal("65000.00")
    }


def test_other_currencies_follow_fixed_rates(api, change):
    change(price=Decimal("100"))

    assert api("GET", "price", currency="EUR", slash=True).content == b'{"price": 92.00}'


def test_a_tether_is_a_dollar(api):
    assert api("GET", "price", crypto="USDT").content == b'{"price": 1.00}'


@pytest.mark.parametrize("query", [{"currency": "XYZ"}, {"crypto": "DOGE"}])
def test_an_unknown_currency_has_the_price_null(api, query):
    response = api("GET", "price", **query)

    assert (response.status_code, response.json()) == (200, {"price": None})


def test_the_price_cannot_be_posted(api):
    assert api("POST", "price").status_code == 405


@pytest.mark.parametrize("crypto", ["BTC", "USDT"])
def test_every_currency_of_the_world_has_a_price(crypto):
    prices = {code: price.price_of(crypto, code, Decimal(50_000)) for code in CODES}

    assert {code for code, found in prices.items() if found} == CODES - UNITS_OF_NO_MONEY


def test_less_than_a_cent_is_still_a_price(api, change):
    assert api("GET", "price", crypto="USDT", currency="XAU").content == b'{"price": 0.00043}'


def test_all_currencies_are_listed(api, change):
    listed = api("GET", "currencies", key=None).json()

    assert {"code": "EUR", "name": "Euro"} in listed
    assert {row["code"] for row in listed} == CODES - UNITS_OF_NO_MONEY
    change(currencies_shape="codes")
    assert "EUR" in api("GET", "currencies", key=None).json()


def test_the_price_moves_by_no_more_than_the_step(change):
    change(price=Decimal("1000"), price_drift=Decimal("0.5"))

    price.move()

    assert Decimal("995") <= Settings.objects.current().price <= Decimal("1005")


def test_the_price_stands_still_unless_blocks_come_by_themselves(settings, change):
    change(price=Decimal("1000"))

    price.move()

    assert Settings.objects.current().price == 1000
    settings.SANDBOX_BLOCK_SECONDS = 30
    assert Settings.objects.current().price_step_percent > 0

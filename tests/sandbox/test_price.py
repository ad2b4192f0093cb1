"""GET /api/price and /api/currencies."""

import json
from decimal import Decimal

import pytest

from sandbox.blockonomics import price
from sandbox.models import Settings

pytestmark = pytest.mark.django_db


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


def test_about_thirty_currencies_are_listed(api, change):
    listed = api("GET", "currencies", key=None).json()

    assert {"code": "EUR", "name": "Euro"} in listed
    assert len(listed) >= 30
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

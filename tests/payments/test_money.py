import doctest
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import money
from payments.money import Asset

assets = st.builds(Asset, st.just("XYZ"), st.integers(0, 18))
units = st.integers(0, money.MAX_AMOUNT)
prices = st.decimals("0.01", "999999.99", places=2)
rates = st.decimals("0.00000001", "99999999", places=8)
USD, JPY, KWD = (Asset.fiat(code) for code in ("USD", "JPY", "KWD"))


@given(assets, prices, rates)
def test_the_units_for_a_price_cover_it_and_one_less_would_not(asset, price, rate):
    due = asset.to_units(price, rate)

    assert asset.to_fiat(due, rate) >= price
    assert asset.to_fiat(due - 1, rate) < price


@given(assets, prices, rates, st.data())
def test_a_payment_in_two_parts_is_worth_as_much_as_in_one(asset, price, rate, data):
    due = asset.to_units(price, rate)
    part = data.draw(st.integers(0, due))

    parts = [asset.to_fiat(part, rate), asset.to_fiat(due - part, rate)]

    assert money.add_up(parts) == asset.to_fiat(due, rate)


@given(assets, units)
def test_an_amount_is_written_with_all_its_decimals(asset, amount):
    written = asset.format(amount)

    assert len(written.partition(".")[2]) == asset.decimals
    assert "e" not in written.lower()
    assert int(written.replace(".", "")) == amount


@given(st.sampled_from([USD, JPY, KWD]), units)
def test_what_is_paid_in_the_currency_itself_is_worth_what_it_says(asset, amount):
    worth = asset.to_fiat(amount, Decimal(1))

    assert worth == Decimal(asset.format(amount))
    assert asset.to_units(worth, Decimal(1)) == amount


@pytest.mark.parametrize(
    ("decimals", "price", "rate", "due"),
    [
        (8, "10.00", "100000", 10_000),
        (8, "10.00", "99999.99", 10_001),
        (8, "0.01", "100000", 10),
        (8, "7.50", "97022.15", 7_731),
        (8, "1000000.00", "0.5", 200_000_000_000_000),
        (6, "10.00", "0.9998", 10_002_001),
        (0, "10.00", "3", 4),
    ],
)
def test_units_are_rounded_up_once(decimals, price, rate, due):
    assert Asset("XYZ", decimals).to_units(Decimal(price), Decimal(rate)) == due


@pytest.mark.parametrize(
    ("asset", "price", "due", "written"),
    [
        (USD, "49.99", 4_999, "49.99"),
        (USD, "0.01", 1, "0.01"),
        (USD, "0.001", 1, "0.01"),
        (JPY, "1980", 1_980, "1980"),
        (JPY, "1980.00", 1_980, "1980"),
        (JPY, "49.99", 50, "50"),
        (KWD, "4.999", 4_999, "4.999"),
        (KWD, "4.99", 4_990, "4.990"),
    ],
)
def test_a_currency_is_counted_in_its_own_smallest_unit(asset, price, due, written):
    assert asset.to_units(Decimal(price), Decimal(1)) == due
    assert asset.format(due) == written


@pytest.mark.parametrize("code", ["", "Dollar", "usd", "XX0"])
def test_what_is_no_currency_is_refused(code):
    with pytest.raises(ValueError):
        Asset.fiat(code)


@pytest.mark.parametrize("rate", ["0", "-1"])
def test_a_rate_that_is_not_above_zero_is_refused(rate):
    with pytest.raises(ValueError, match="above zero"):
        USD.to_units(Decimal(1), Decimal(rate))


def test_the_examples_in_the_docstrings_are_true():
    tried = doctest.testmod(money)

    assert tried.attempted >= 4
    assert tried.failed == 0

import doctest
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from payments import money

satoshis = st.integers(0, money.MAX_SATOSHIS)
prices = st.decimals("0.01", "999999.99", places=2)
rates = st.decimals("0.00000001", "99999999", places=8)


@given(prices, rates)
def test_the_satoshis_for_a_price_cover_it_and_one_less_would_not(price, rate):
    due = money.to_satoshis(price, rate)

    assert money.to_fiat(due, rate) >= price
    assert money.to_fiat(due - 1, rate) < price


@given(prices, rates, st.data())
def test_a_payment_in_two_parts_is_worth_as_much_as_in_one(price, rate, data):
    due = money.to_satoshis(price, rate)
    part = data.draw(st.integers(0, due))

    parts = money.to_fiat(part, rate) + money.to_fiat(due - part, rate)

    assert money.EXACT.plus(parts) == money.to_fiat(due, rate)


@given(satoshis)
def test_bitcoin_is_written_with_eight_digits(amount):
    written = money.format_bitcoin(amount)

    assert len(written.partition(".")[2]) == 8
    assert "e" not in written.lower()
    assert int(written.replace(".", "")) == amount


@pytest.mark.parametrize(
    ("price", "rate", "due"),
    [
        ("10.00", "100000", 10_000),
        ("10.00", "99999.99", 10_001),
        ("0.01", "100000", 10),
        ("7.50", "97022.15", 7_731),
        ("1000000.00", "0.5", 200_000_000_000_000),
    ],
)
def test_satoshis_are_rounded_up_once(price, rate, due):
    assert money.to_satoshis(Decimal(price), Decimal(rate)) == due


def test_a_rate_of_zero_is_refused():
    with pytest.raises(ValueError, match="above zero"):
        money.to_satoshis(Decimal(1), Decimal(0))


def test_a_label_may_hold_anything():
    uri = money.bitcoin_uri("tb1q", 1, "Tom & Käthe's 100 %")

    assert uri == "bitcoin:tb1q?amount=0.00000001&label=Tom%20%26%20K%C3%A4the%27s%20100%20%25"


def test_the_examples_in_the_docstrings_are_true():
    tried = doctest.testmod(money)

    assert tried.attempted >= 4
    assert tried.failed == 0

from decimal import Decimal

import pytest
from django.conf import settings
from hypothesis import given
from hypothesis import strategies as st

from payments import policy
from payments.policy import Policy


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ("0-: 2", [(0, 2)]),
        ("0-:2", [(0, 2)]),
        ("0-: 0", [(0, 0)]),
        ("0-20: 1, 20-: 2", [(0, 1), (20, 2)]),
        (" 0-20: 1 ,20-: 2 ", [(0, 1), (20, 2)]),
        ("0-9.99: 0, 9.99-100: 1, 100-: 2", [(0, 0), (Decimal("9.99"), 1), (100, 2)]),
    ],
)
def test_a_policy_is_a_row_of_steps(text, steps):
    assert list(policy.parse_confirmation_policy(text)) == steps


@pytest.mark.parametrize(
    "text",
    [
        "",
        "2",
        "0-",
        "0-: 3",
        "0-: -1",
        "0-: two",
        "0-20: 1",
        "1-: 2",
        "0-20: 1, 30-: 2",
        "0-20: 1, 10-: 2",
        "0-: 1, 20-: 2",
        "0-20: 1, 20-: 2,",
        "0-20: 1; 20-: 2",
        "20-: 2, 0-20: 1",
        "-5-: 2",
        "٠-: 2",
    ],
)
def test_anything_else_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match="CONFIRMATION_POLICY"):
        policy.parse_confirmation_policy(text)


@pytest.mark.parametrize("text", [".-: 2", "0-.: 1, .-: 2", "0-1.2.3: 1, 1.2.3-: 2", "..-: 2"])
def test_points_without_digits_are_no_amount(text):
    with pytest.raises(ValueError, match="CONFIRMATION_POLICY"):
        policy.parse_confirmation_policy(text)


@pytest.mark.parametrize(
    "text", ["0-20: 2, 20-10: 2, 10-: 0", "0-0: 2, 0-: 0", "0-5: 1, 5-5: 2, 5-: 0"]
)
def test_ranges_that_go_backwards_or_nowhere_are_refused(text):
    with pytest.raises(ValueError, match="CONFIRMATION_POLICY"):
        policy.parse_confirmation_policy(text)


bounds = st.text("015.", max_size=4)
ranges = st.builds("{}-{}: {}".format, bounds, bounds, st.integers(0, 3))


@given(st.lists(ranges, max_size=4).map(", ".join) | st.text("0123.-:, ", max_size=20))
def test_nonsense_is_refused_and_never_becomes_a_policy_in_disorder(text):
    try:
        steps = policy.parse_confirmation_policy(text)
    except ValueError:
        return
    starts = [start for start, _ in steps]
    assert starts[0] == 0
    assert starts == sorted(set(starts))


@pytest.mark.parametrize(
    ("total", "status"),
    [("0.01", 0), ("9.99", 0), ("10", 1), ("99.99", 1), ("100", 2), ("99999999", 2)],
)
def test_the_total_decides_which_status_is_enough(settings, total, status):
    settings.CONFIRMATION_POLICY = "0-10: 0, 10-100: 1, 100-: 2"

    assert Policy.of(settings).enough_confirmations(Decimal(total)) == status


def test_without_a_word_of_the_merchant_two_confirmations_are_needed(settings):
    assert Policy.of(settings).enough_confirmations(Decimal("0.01")) == 2


@pytest.mark.parametrize(
    ("tolerance", "least"),
    [("0", "10.00"), ("1", "9.90"), ("0.5", "9.95"), ("99.9", "0.01")],
)
def test_the_tolerance_is_a_share_of_the_total(settings, tolerance, least):
    settings.UNDERPAYMENT_TOLERANCE = Decimal(tolerance)

    assert Policy.of(settings).least_accepted(Decimal("10.00")) == Decimal(least)


@given(st.decimals("0.01", "999999.99", places=2))
def test_without_tolerance_every_cent_is_asked_for(total):
    assert Policy.of(settings).least_accepted(total) == total

"""What Blockonomics says becomes exact types, or nothing at all."""

import time

import pytest
from pydantic import ValidationError

from payments import providers
from payments.bitcoin import MAX_SATOSHIS
from payments.providers.blockonomics import messages
from tests.conftest import address, txid


def test_a_number_beyond_all_numbers_is_no_message():
    assert messages.read_json('{"value": 1e99999999999999999999}') is None
    told = f'{{"txid": "{txid(1)}", "status": 0, "value": 1e99999999999999999999}}'
    assert providers.get("blockonomics").parse_message(address(0), told) is None


def test_an_error_repeats_nothing_of_what_was_said():
    with pytest.raises(ValidationError) as error:
        messages.Stores.model_validate({"data": {"http_callback": "https://x/?secret=TOPSECRET"}})

    assert "SECRET" not in str(error.value)


def payment(**changes) -> messages.Payment:
    usual = {"txid": f'"{txid(1)}"', "value": "7", "status": "0"}
    fields = ", ".join(f'"{name}": {text}' for name, text in {**usual, **changes}.items())
    return messages.Payment.model_validate(messages.read_json(f"{{{fields}}}"))


@pytest.mark.parametrize(
    ("written", "value"),
    [("7", 7), ('"7"', 7), ("1e3", 1_000), ("7.0", 7), (str(MAX_SATOSHIS), MAX_SATOSHIS)],
)
def test_an_amount_is_a_whole_number_however_it_is_written(written, value):
    amount = payment(value=written).value

    assert (type(amount), amount) == (int, value)


@pytest.mark.parametrize(
    "written",
    ["0", "-1", "1.5", "true", "null", "[7]", '"1e3"', '"seven"', '""', "NaN", "-Infinity"]
    + [str(MAX_SATOSHIS + 1), "1e999999999", "1e-999999999", "9" * 4_000, '"' + "9" * 4_000 + '"'],
    ids=lambda text: text[:20],
)
def test_what_is_no_amount_is_refused_at_once(written):
    began = time.monotonic()

    with pytest.raises(ValidationError):
        payment(value=written)

    assert time.monotonic() - began < 1


@pytest.mark.parametrize("written", ["3", "-1", "true", "null", '"Confirmed"', "0.5"])
def test_what_is_no_status_is_refused(written):
    with pytest.raises(ValidationError):
        payment(status=written)


@pytest.mark.parametrize(
    ("rbf", "is_replaceable"),
    [
        ("null", False),
        ('""', False),
        ("0", False),
        ('"0"', False),
        ("false", False),
        ("1", True),
        ("2", True),
        ('"Opt-In"', True),
        ("true", True),
    ],
)
def test_a_mark_as_replaceable_counts_while_unconfirmed_however_it_is_written(rbf, is_replaceable):
    assert payment(rbf=rbf).is_replaceable == is_replaceable
    assert not payment(rbf=rbf, status="1").is_replaceable


def test_words_in_place_of_a_hash_count_in_the_test_mode_only(settings):
    words = '"WarningThisIsAGeneratedTestPayment"'
    with pytest.raises(ValidationError):
        payment(txid=words)

    settings.BLOCKONOMICS_TEST_MODE = True

    assert payment(txid=words).txid == "WarningThisIsAGeneratedTestPayment"


def test_a_balance_of_nothing_is_zero_and_strangers_rows_are_passed_over():
    rows = [
        {"addr": address(0).upper(), "confirmed": 7, "unconfirmed": -3},
        {"addr": address(1), "confirmed": None, "unconfirmed": ""},
        {"addr": "another", "confirmed": "much"},
        {},
    ]

    held = messages.Balances(response=rows).of([address(0), address(1), address(2)])

    assert held == {address(0): 4, address(1): 0}


@pytest.mark.parametrize("text", ["", "no JSON", "[]", "7", "[" * 50_000, b"\xff\xfe", "9" * 9_000])
def test_what_is_no_object_is_nothing(text):
    assert messages.read_json(text) is None

"""manage.py doctor: is this shop set up rightly at Blockonomics?"""

import json
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from tests.conftest import SERVICE

pytestmark = pytest.mark.django_db
OURS = "http://127.0.0.1:8000/payments/callback/blockonomics?secret=demo-callback-secret"


@pytest.fixture
def ask(service):
    """What the doctor says of these stores, and whether it is content."""

    def ask(*stores, status=200):
        service.add("GET", f"{SERVICE}/api/v2/stores", json.dumps({"data": stores}), status=status)
        said = StringIO()
        try:
            call_command("doctor", stdout=said)
        except CommandError:
            return said.getvalue(), False
        return said.getvalue(), True

    return ask


def test_a_shop_set_up_rightly_is_told_so_and_loses_no_address(ask, service):
    said, content = ask({"http_callback": OURS, "wallets": [{"id": 1}]})

    assert content
    assert "MISSING" not in said
    assert "One bitcoin costs 100000 USD." in said
    assert not any("new_address" in call.request.url for call in service.calls)


@pytest.mark.parametrize(
    ("stores", "missing"),
    [
        ([], OURS),
        ([{"http_callback": OURS.replace("demo", "old"), "wallets": [{"id": 1}]}], OURS),
        ([{"http_callback": OURS, "wallets": []}], "has a wallet attached"),
        ([{"http_callback": OURS}], "has a wallet attached"),
    ],
)
def test_what_is_missing_is_named(ask, stores, missing):
    said, content = ask(*stores)

    assert not content
    assert any(missing in line for line in said.splitlines() if line.startswith("MISSING"))


def test_a_wrong_key_is_named(ask):
    said, content = ask(status=401)

    assert not content
    assert "MISSING Blockonomics /api/v2/stores answered 401" in said
    assert "BLOCKONOMICS_API_KEY" in said


# The gap of unused addresses


def test_the_number_of_unpaid_addresses_in_a_row_is_told(ask, make_invoice, call_back):
    call_back(make_invoice())
    make_invoice(), make_invoice()

    said, content = ask({"http_callback": OURS, "wallets": [{"id": 1, "gap_limit": None}]})

    assert content
    assert "2 addresses in a row are unpaid; the gap limit at Blockonomics is 20." in said


def test_too_many_of_them_are_a_trouble(ask, make_invoice):
    make_invoice(), make_invoice()

    said, content = ask({"http_callback": OURS, "wallets": [{"id": 1, "gap_limit": 2}]})

    assert not content
    assert "MISSING 2 addresses in a row are unpaid" in said
    assert "in your wallet" in said


def test_no_other_store_tells_the_gap_limit(ask):
    ours = {"http_callback": OURS, "wallets": [{"id": 1, "gap_limit": 50}, {"id": 2}]}
    other = {"http_callback": "https://shop.example.com/", "wallets": [{"gap_limit": 1}]}

    said, _ = ask(ours, other)

    assert "the gap limit at Blockonomics is 20." in said

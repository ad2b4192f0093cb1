"""Every fault of every API call, and the way back to none."""

import pytest

from sandbox import chain
from sandbox.models import FAULTS

pytestmark = pytest.mark.django_db

CALLS = {
    "new_address": ("POST", {}),
    "price": ("GET", {}),
    "searchhistory": ("GET", {"addr": chain.CUSTOMER}),
    "balance": ("GET", {"addr": chain.CUSTOMER}),
    "tx_detail": ("GET", {"txid": "0" * 64}),
}


@pytest.fixture
def faulty(api, store, control):
    """faulty("price", "500") → the response of the call with the fault."""

    def call(name, fault):
        control("settings", faults={name: fault}, timeout_seconds=0)
        method, query = CALLS[name]
        return api(method, name, **query)

    return call


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("status", [401, 403, 429, 500, 503])
def test_any_call_can_answer_with_an_error(faulty, name, status):
    assert faulty(name, str(status)).status_code == status


@pytest.mark.parametrize("name", FAULTS)
def test_any_call_can_answer_with_garbage(faulty, name):
    response = faulty(name, "garbage")

    assert response.status_code == 200
    with pytest.raises(ValueError, match="Content-Type"):
        response.json()


@pytest.mark.parametrize("name", FAULTS)
def test_any_call_can_answer_with_nothing(faulty, name):
    response = faulty(name, "empty")

    assert (response.status_code, response.content) == (200, b"")


@pytest.mark.parametrize("name", FAULTS)
def test_any_call_can_keep_its_caller_waiting(faulty, api, name, monkeypatch, control):
    waits = []

    async def sleep(seconds):
        waits.append(seconds)

    monkeypatch.setattr("sandbox.blockonomics.endpoint.asyncio.sleep", sleep)
    assert faulty(name, "timeout").status_code == 504
    assert waits == []
    control("settings", timeout_seconds="12.5")
    method, query = CALLS[name]
    assert api(method, name, **query).status_code == 504
    assert waits == [12.5]


def test_a_gap_limit_can_be_played(faulty, api):
    assert faulty("new_address", "gap_limit").json()["message"] == "Gap limit exceeded"


@pytest.mark.parametrize("fault", ["banned", "disabled"])
def test_an_account_can_be_refused(faulty, fault):
    response = faulty("new_address", fault)

    assert response.status_code == 403
    assert fault in response.json()["message"].lower()


def test_a_new_address_can_be_empty(faulty):
    assert faulty("new_address", "empty_address").json() == {"address": ""}


def test_two_callers_can_get_the_same_address(faulty, api):
    first = api("POST", "new_address").json()

    assert faulty("new_address", "duplicate_address").json() == first


def test_a_price_can_be_null_or_zero(faulty):
    assert faulty("price", "null").json() == {"price": None}
    assert faulty("price", "zero").json() == {"price": 0}


def test_no_address_is_burnt_by_a_fault(faulty, bitcoin_wallet):
    for fault in ("500", "timeout", "garbage", "gap_limit", "empty_address"):
        faulty("new_address", fault)

    assert not bitcoin_wallet.addresses.exists()


def test_reset_puts_every_fault_back(faulty, api, control):
    faulty("price", "500")
    control("settings", callbacks="off", websocket="refuse", price=50000)

    answer = control("reset")

    assert set(answer["faults"].values()) == {"none"}
    assert (answer["callbacks"], answer["websocket"]) == ("normal", "normal")
    assert answer["price"] == "50000.00"
    assert api("GET", "price").content == b'{"price": 50000.00}'

"""Every call to Blockonomics, while Blockonomics or the way there is ill in every way we know."""

import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client

from payments.models import Invoice
from payments.providers import http
from payments.providers.base import ProviderError
from tests.conftest import address, txid
from tests.providers.upstream import FAULTS, SLOW, Upstream

TIMEOUT_SECONDS = 0.4
# What a page and a busy machine may need besides; without the timeout it would be a minute.
A_LITTLE = 5

LOOK_UPS = {
    "balance": lambda provider: provider.balances([address(0)]),
    "searchhistory": lambda provider: provider.look_up(address(0)),
    "tx_detail": lambda provider: provider.find_transaction(address(0), txid(1)),
}


pytestmark = [
    pytest.mark.hard,
    pytest.mark.skipif(bool(os.environ.get("DATABASE_URL")), reason="it is about the wire"),
]


@pytest.fixture
def upstream(settings):
    with Upstream() as server:
        settings.BLOCKONOMICS_URL = server.url
        settings.BLOCKONOMICS_TIMEOUT = timedelta(seconds=TIMEOUT_SECONDS)
        settings.PRICE_MAX_AGE = timedelta(0)
        yield server


def buy(product):
    """A new visitor's purchase; returns the answer and the seconds that it took."""
    began = time.monotonic()
    response = Client().post(f"/payments/create/{product.pk}/")
    return response, time.monotonic() - began


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", ["new_address", "price"])
def test_the_shopper_is_told_in_time(call, fault, upstream, product):
    upstream.faults[call] = fault

    response, seconds = buy(product)

    assert seconds < TIMEOUT_SECONDS + A_LITTLE
    assert response.status_code in (502, 503)
    text = response.content.decode()
    assert "The bitcoin payment service" in text or "There is no bitcoin price" in text
    assert "Traceback" not in text
    assert not Invoice.objects.exists()
    assert not any("elsewhere" in path for path in upstream.asked)

    upstream.faults.clear()
    assert buy(product)[0].status_code == 302


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("call", LOOK_UPS)
def test_a_look_up_ends_in_time_and_in_our_own_words(call, fault, upstream, provider):
    upstream.faults[call] = fault

    began = time.monotonic()
    try:
        found = LOOK_UPS[call](provider)
    except ProviderError as error:
        assert f"/api/{call}" in str(error)
    else:
        assert fault.endswith("in rows") and not found or found == {address(0): 0}
    assert time.monotonic() - began < TIMEOUT_SECONDS + A_LITTLE
    assert upstream.asked == [f"/api/{call}"]

    upstream.faults.clear()
    assert LOOK_UPS[call](provider)


@pytest.mark.parametrize("fault", [*FAULTS, None])
def test_a_call_ends_in_an_answer_or_in_one_error_that_tells_no_secret(fault, upstream):
    upstream.faults["price"] = fault
    began = time.monotonic()

    try:
        answer = http.ask(
            "GET",
            f"{upstream.url}/api/price",
            params={"secret": "in-the-query"},
            headers={"Authorization": "Bearer in-a-header"},
            seconds=TIMEOUT_SECONDS,
        )
    except http.CallFailed as error:
        assert fault
        assert "in-" not in str(error) and "127.0.0.1" not in str(error)
    else:
        assert len(answer.body) <= http.MAX_ANSWER_BYTES
        assert fault not in SLOW
    assert time.monotonic() - began < TIMEOUT_SECONDS + A_LITTLE
    assert len(upstream.asked) == 1


def test_how_much_is_read_can_be_limited(upstream):
    url, whole = f"{upstream.url}/api/price", b'{"price": 100000}'

    assert http.ask("GET", url, seconds=5, max_bytes=len(whole)) == (200, whole)
    with pytest.raises(http.CallFailed):
        http.ask("GET", url, seconds=5, max_bytes=len(whole) - 1)


def test_nobody_listens(settings, product):
    with Upstream() as gone:
        settings.BLOCKONOMICS_URL = gone.url

    response, seconds = buy(product)

    assert response.status_code == 503
    assert seconds < A_LITTLE


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("fault", SLOW)
def test_many_shoppers_of_a_slow_service_leave_no_thread_behind(fault, upstream, product):
    """More of them than there are callers for the price, so that some queue for one."""

    def shopper(_):
        try:
            return buy(product)
        finally:
            connection.close()

    before = set(threading.enumerate())
    upstream.faults = dict.fromkeys(["new_address", "price"], fault)
    with ThreadPoolExecutor(30) as shoppers:
        answers = list(shoppers.map(shopper, range(30)))

    assert {response.status_code for response, _ in answers} == {503}
    assert max(seconds for _, seconds in answers) < TIMEOUT_SECONDS + 2 * A_LITTLE
    more = {thread.name for thread in set(threading.enumerate()) - before}
    assert all(name.startswith("blockonomics") for name in more)
    assert len([t for t in threading.enumerate() if t.name.startswith("blockonomics")]) <= 20

    upstream.faults.clear()
    response, seconds = buy(product)
    assert response.status_code == 302
    assert seconds < A_LITTLE

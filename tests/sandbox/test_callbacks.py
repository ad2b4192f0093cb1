"""The callbacks as a shop gets them: what they say, how often they come, when they stop."""

from datetime import timedelta
from decimal import Decimal
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses
from django.utils import timezone

from sandbox import chain
from sandbox.blockonomics import callbacks
from sandbox.models import Attempt, Delivery, Store
from tests.sandbox.conftest import CALLBACK

pytestmark = pytest.mark.django_db


@pytest.fixture
def shop():
    """The shop at the other end of the wire; it answers 200 unless told otherwise."""
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        yield wire


@pytest.fixture
def ok(shop):
    shop.get("https://shop.example/callback", body="fine")
    return shop


def heard(shop):
    """The parameters of every callback, in the order in which they came."""
    return [dict(parse_qsl(urlsplit(call.request.url).query)) for call in shop.calls]


def statuses(shop):
    return [int(parameters["status"]) for parameters in heard(shop)]


def test_a_callback_says_what_was_paid(ok, new_address):
    address = new_address()
    payment = chain.pay([(address, 1234)])

    callbacks.deliver_due()

    assert heard(ok) == [
        {
            "secret": "s3cr3t-of-the-store",
            "status": "0",
            "addr": address,
            "value": "1234",
            "txid": payment.txid,
            "crypto": "BTC",
        }
    ]


def test_every_status_is_told_once_and_nothing_after_the_last(ok, new_address):
    chain.pay([(new_address(), 1_000)])
    for _ in range(4):
        callbacks.deliver_due()
        chain.mine()
    callbacks.deliver_due()

    assert statuses(ok) == [0, 1, 2]


@pytest.mark.parametrize("rbf", [1, 2])
def test_only_the_unconfirmed_callback_carries_rbf(ok, new_address, rbf):
    chain.pay([(new_address(), 1_000)], rbf=rbf)
    chain.mine(2)
    callbacks.deliver_due()

    assert [p.get("rbf") for p in sorted(heard(ok), key=lambda p: p["status"])] == [
        str(rbf),
        None,
        None,
    ]


def test_the_coin_may_be_left_out(ok, new_address, change):
    change(callback_crypto=False)
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()

    assert "crypto" not in heard(ok)[0]


@pytest.mark.parametrize(
    ("url", "beginning"),
    [
        ("https://a.example/cb", "https://a.example/cb?x=1"),
        ("https://a.example/cb?", "https://a.example/cb?x=1"),
        ("https://a.example/cb?k=%2F", "https://a.example/cb?k=%2F&x=1"),
        ("https://a.example/cb?k=v&", "https://a.example/cb?k=v&x=1"),
        ("https://a.example/cb#part", "https://a.example/cb?x=1"),
    ],
)
def test_parameters_are_put_behind_the_stores_own(url, beginning):
    assert callbacks.with_parameters(url, {"x": 1}) == beginning


def test_no_order_of_parameters_is_promised():
    parameters = dict.fromkeys("abcdef", 1)

    assert len({callbacks.with_parameters("http://a", parameters) for _ in range(50)}) > 1


def test_each_address_of_a_transaction_has_its_own_callback(ok, new_address):
    first, second = new_address(), new_address()
    payment = chain.pay([(first, 1_000), (second, 5_000), (first, 2_000)])
    callbacks.deliver_due()

    told = {(p["addr"], p["value"], p["txid"]) for p in heard(ok)}
    assert told == {(first, "3000", payment.txid), (second, "5000", payment.txid)}
    assert len(ok.calls) == 2


def test_two_payments_to_one_address_are_told_apart(ok, new_address):
    address = new_address()
    chain.pay([(address, 1_000)])
    chain.pay([(address, 2_000)])
    callbacks.deliver_due()

    assert sorted(p["value"] for p in heard(ok)) == ["1000", "2000"]


def test_nothing_is_sent_for_no_value_or_for_strangers_addresses(ok, new_address, change):
    change(dust_relay_fee=0)
    chain.pay([(new_address(), 0), (chain.CUSTOMER, 5_000)])
    callbacks.deliver_due()

    assert not ok.calls


def test_a_store_without_a_url_is_not_called(ok, new_address):
    address = new_address()
    Store.objects.update(http_callback="")
    chain.pay([(address, 1_000)])
    callbacks.deliver_due()

    assert not ok.calls


def test_test_addresses_are_paid_like_others(ok, api, store):
    Store.objects.update(testmode=True)
    address = api("POST", "new_address").json()["address"]
    chain.pay([(address, 5_000)])
    callbacks.deliver_due()

    assert heard(ok)[0]["addr"] == address


# Answers and retries


@pytest.mark.parametrize("code", [201, 204, 301, 302, 403, 404, 500, 503])
def test_only_200_counts(shop, new_address, code):
    shop.get("https://shop.example/callback", status=code, headers={"Location": "/elsewhere"})
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()

    attempt = Attempt.objects.get()
    assert (attempt.response_code, attempt.delivery.state) == (code, "due")
    assert len(shop.calls) == 1


def test_redirects_are_followed_when_so_set(shop, new_address, change):
    change(callback_follows_redirects=True)
    moved = {"Location": "https://shop.example/new"}
    shop.get("https://shop.example/callback", status=302, headers=moved)
    shop.get("https://shop.example/new")
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()

    assert Delivery.objects.get().state == "delivered"


def test_seven_retries_wait_longer_each_time(shop, new_address, time_machine):
    time_machine.move_to("2026-01-01T12:00Z", tick=False)
    shop.get("https://shop.example/callback", status=503)
    chain.pay([(new_address(), 1_000)])
    waits = []
    while Delivery.objects.get().state == "due":
        callbacks.deliver_due()
        due_at = Delivery.objects.get().due_at
        if due_at > timezone.now():
            waits.append((due_at - timezone.now()).total_seconds())
            time_machine.shift(waits[-1] - 1)
            callbacks.deliver_due()  # a second too early: nothing is sent
            time_machine.shift(1)

    assert waits == [4, 8, 16, 32, 64, 128, 256]
    assert len(shop.calls) == 8
    assert Delivery.objects.get().state == "given up"
    assert Attempt.objects.first().retry_at is None


def test_the_waits_can_be_set(change):
    change(
        callback_backoff_seconds=Decimal(4),
        callback_backoff_factor=Decimal(4),
        callback_clock=Decimal("0.5"),
    )
    row = callbacks.Settings.objects.current()

    waits = [callbacks.wait_before_retry(retry, row) for retry in (1, 2, 3)]

    assert waits == [timedelta(seconds=2), timedelta(seconds=8), timedelta(seconds=32)]


def test_a_retry_that_succeeds_ends_it(shop, new_address, change):
    change(callback_clock=Decimal(0))
    shop.get("https://shop.example/callback", status=500)
    shop.get("https://shop.example/callback", status=200, body="at last")
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()

    delivery = Delivery.objects.get()
    assert (delivery.state, delivery.tries) == ("delivered", 2)


def test_a_shop_that_cannot_be_reached_is_tried_again(shop, new_address):
    shop.get("https://shop.example/callback", body=requests.ConnectionError("refused"))
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()

    attempt = Attempt.objects.get()
    assert attempt.response_code is None
    assert attempt.error == "ConnectionError: refused"
    assert attempt.retry_at > timezone.now()


def test_the_log_keeps_what_was_asked_and_answered(shop, new_address):
    shop.get("https://shop.example/callback", body="x" * 5000)
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()

    attempt = Attempt.objects.get()
    assert attempt.url.startswith(CALLBACK)
    assert (attempt.number, attempt.response_code, attempt.body) == (1, 200, "x" * 300)
    assert attempt.started_at <= timezone.now()


# Several senders


def test_a_claimed_delivery_is_claimed_by_nobody_else(new_address):
    chain.pay([(new_address(), 1_000)])

    assert len(callbacks.claim_due()) == 1
    assert callbacks.claim_due() == []


def test_what_a_crashed_sender_had_claimed_is_sent_by_another(new_address, time_machine):
    time_machine.move_to("2026-01-01T12:00Z", tick=False)
    chain.pay([(new_address(), 1_000)])
    callbacks.claim_due()

    time_machine.shift(3600)

    assert len(callbacks.claim_due()) == 1


def test_a_slow_store_keeps_nobody_waiting(api, store, new_address):
    address = new_address()
    for value in range(1_000, 1_020):
        chain.pay([(address, value)])
    quick = store.account.stores.create(http_callback="https://quick.example/", wallet=store.wallet)
    other = api("POST", "new_address", match_callback="quick").json()["address"]
    chain.pay([(other, 1_000)])

    claimed = [delivery.store_id for delivery in callbacks.claim_due()]

    assert claimed.count(store.pk) == callbacks.AT_ONCE_PER_STORE
    assert claimed.count(quick.pk) == 1


# Faults


def test_callbacks_can_be_off(ok, new_address, change):
    change(callbacks="off")
    chain.pay([(new_address(), 1_000)])
    change(callbacks="normal")
    callbacks.deliver_due()

    assert not ok.calls


def test_callbacks_can_come_twice(ok, new_address, change):
    change(callbacks="twice")
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()

    assert statuses(ok) == [0, 0]


def test_callbacks_can_come_in_the_wrong_order(ok, new_address, change):
    change(callbacks="reordered")
    chain.pay([(new_address(), 1_000)])
    callbacks.deliver_due()
    assert not ok.calls

    chain.mine(2)
    callbacks.deliver_due()

    assert statuses(ok) == [2, 1, 0]


@pytest.mark.parametrize(("skipped", "left"), [([0, 1], [2]), ([1], [0, 2])])
def test_callbacks_can_skip_statuses(ok, new_address, change, skipped, left):
    change(callbacks="skipping", skipped_statuses=skipped)
    chain.pay([(new_address(), 1_000)])
    chain.mine(2)
    callbacks.deliver_due()

    assert sorted(statuses(ok)) == left


# Transactions that go away


@pytest.mark.parametrize("undo", [chain.drop, chain.replace])
def test_nothing_more_is_heard_of_a_transaction_that_is_gone(ok, new_address, undo):
    payment = chain.pay([(new_address(), 1_000)])
    undo(payment.txid)
    chain.mine(2)
    callbacks.deliver_due()

    assert payment.txid not in {p["txid"] for p in heard(ok)}


def test_the_replacement_is_told_as_a_new_transaction(ok, new_address):
    old = chain.pay([(new_address(), 1000)], rbf=1)
    callbacks.deliver_due()
    new = chain.replace(old.txid, value=900)
    callbacks.deliver_due()

    assert [(p["txid"], p["value"], p["status"]) for p in heard(ok)] == [
        (old.txid, "1000", "0"),
        (new.txid, "900", "0"),
    ]


def test_an_answer_that_comes_after_the_end_changes_nothing(new_address):
    payment = chain.pay([(new_address(), 1_000)])
    [claimed] = callbacks.claim_due()
    chain.drop(payment.txid)

    callbacks.note(claimed, callbacks.Answer("http://a", timezone.now(), 5, code=503))

    assert Delivery.objects.get().state == "cancelled"


def test_an_answer_for_a_store_that_is_gone_changes_nothing(new_address):
    chain.pay([(new_address(), 1_000)])
    [claimed] = callbacks.claim_due()
    Store.objects.all().delete()

    assert callbacks.note(claimed, callbacks.Answer("http://a", timezone.now(), 5)) is None


def test_a_reorg_repeats_no_callback(ok, new_address):
    chain.pay([(new_address(), 1_000)])
    chain.mine()
    callbacks.deliver_due()
    chain.reorg(1)
    chain.mine(2)
    callbacks.deliver_due()

    assert sorted(statuses(ok)) == [0, 1, 2]

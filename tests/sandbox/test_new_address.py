"""POST /api/new_address: who gets which address, and every way in which it says no."""

from urllib.parse import parse_qs

import pytest

from sandbox import chain, conf, keys
from sandbox.models import Account, Store
from tests.sandbox.conftest import API_KEY, CALLBACK
from tests.sandbox.test_keys import ZPUB

pytestmark = pytest.mark.django_db


def test_addresses_come_in_the_order_of_the_wallet(api, store):
    given = [api("POST", "new_address").json() for _ in range(3)]

    assert given == [{"address": keys.address_at(conf.TEST_KEY, i)} for i in range(3)]


@pytest.mark.parametrize("slash", [True, False])
def test_it_answers_with_and_without_a_closing_slash(api, store, slash):
    assert api("POST", "new_address", slash=slash).status_code == 200


@pytest.mark.parametrize("key", [None, "wrong"])
def test_a_stranger_is_turned_away(api, store, key):
    response = api("POST", "new_address", key=key)

    assert response.status_code == 401
    assert response.json() == {"message": "This function requires you to login"}


def test_it_is_no_get(api, store):
    response = api("GET", "new_address")

    assert response.status_code == 405
    assert response["Allow"] == "POST"


def test_a_mainnet_key_gives_mainnet_addresses(api, store):
    store.wallet = store.account.wallets.create(address=ZPUB)
    store.save()

    assert api("POST", "new_address").json()["address"].startswith("bc1q")


@pytest.mark.parametrize("match", [CALLBACK, *parse_qs(CALLBACK.partition("?")[2])["secret"]])
def test_any_part_of_the_callback_url_chooses_the_store(api, store, match):
    other = store.account.wallets.create(address=ZPUB)
    store.account.stores.create(http_callback="https://other.example/", wallet=other)

    answer = api("POST", "new_address", match_callback=match).json()

    assert answer == {
        "address": keys.address_at(conf.TEST_KEY, 0),
        "account": conf.TEST_KEY,
    }


@pytest.mark.parametrize("part", [ZPUB[:30], ZPUB[20:30], ZPUB[-8:], ZPUB])
def test_any_part_of_a_key_chooses_the_wallet(api, store, part):
    store.account.wallets.create(address=ZPUB)

    answer = api("POST", "new_address", match_account=part).json()

    assert answer == {"address": keys.address_at(ZPUB, 0), "account": ZPUB}


def test_parameters_in_the_body_are_ignored(api, store):
    response = api("POST", "new_address", body={"match_callback": "nowhere", "crypto": "DOGE"})

    assert response.status_code == 200


def test_a_second_store_makes_match_callback_necessary(api, store):
    store.account.stores.create(http_callback="https://other.example/")

    response = api("POST", "new_address")

    assert response.status_code == 400
    assert response.json() == {
        "error": {"message": "Specify store using match_callback parameter", "code": 1032}
    }


@pytest.mark.parametrize("query", [{"match_callback": "nowhere"}, {"match_account": "zpubX"}])
def test_what_fits_no_store_is_refused(api, store, query):
    response = api("POST", "new_address", **query)

    assert response.status_code == 500
    assert response.json() == {"status": 500, "message": "Could not find matching xpub"}


def test_a_store_without_a_wallet_is_refused(api, store):
    Store.objects.update(wallet=None)

    response = api("POST", "new_address", match_callback=CALLBACK)

    assert response.json()["message"] == "Could not find matching xpub"


def test_an_account_without_a_wallet_is_told_to_add_one(api, account):
    response = api("POST", "new_address")

    assert response.status_code == 500
    assert response.json() == {
        "status": 500,
        "message": "This require you to add an xpub in your wallet watcher",
    }


def test_without_a_store_the_only_wallet_is_used(api, bitcoin_wallet):
    assert api("POST", "new_address").json() == {"address": keys.address_at(conf.TEST_KEY, 0)}


def test_without_a_store_two_wallets_are_too_many(api, bitcoin_wallet, account):
    account.wallets.create(address=ZPUB)

    response = api("POST", "new_address")

    assert "multiple xPubs" in response.json()["message"]


def test_accounts_do_not_see_each_other(api, store):
    other = Account.objects.create(api_key="another-key")
    other.wallets.create(address=ZPUB)

    assert api("POST", "new_address", key="another-key").json()["address"].startswith("bc1q")
    assert api("POST", "new_address", key=API_KEY).json()["address"].startswith("tb1q")


@pytest.mark.parametrize("crypto", ["USDC", "BCH", "btc", ""])
def test_unknown_coins_are_refused(api, store, crypto):
    assert api("POST", "new_address", crypto=crypto).status_code == 422


@pytest.mark.parametrize("query", [{}, {"match_callback": CALLBACK}, {"match_account": "vpub"}])
def test_a_store_without_a_wallet_of_that_coin_is_refused(api, store, change, query):
    change(error_shape="nested")

    response = api("POST", "new_address", crypto="USDT", **query)

    assert response.status_code == 500
    assert response.json()["error"] == {"message": "Could not find matching xpub", "code": 1003}


def test_bitcoin_may_be_named(api, store):
    assert api("POST", "new_address", crypto="BTC").status_code == 200


def test_reset_gives_the_last_address_again(api, store):
    first = api("POST", "new_address", reset=1).json()
    second = api("POST", "new_address", reset=1).json()

    assert first == second == {"address": keys.address_at(conf.TEST_KEY, 0), "reset": 1}
    assert api("POST", "new_address").json() == {"address": keys.address_at(conf.TEST_KEY, 1)}


def test_a_store_in_test_mode_gets_addresses_that_are_none(api, store):
    Store.objects.update(testmode=True)

    first, second = (api("POST", "new_address").json()["address"] for _ in range(2))

    assert first.startswith("1TestBTCAddress")
    assert first != second
    Store.objects.update(testmode=False)
    assert api("POST", "new_address").json()["address"] == keys.address_at(conf.TEST_KEY, 0)


# The gap limit


def test_too_many_unused_addresses_reach_the_gap_limit(api, store, change):
    change(gap_limit=2)
    first, _ = (api("POST", "new_address").json()["address"] for _ in range(2))

    response = api("POST", "new_address")

    assert response.status_code == 500
    assert response.json() == {"status": 500, "message": "Gap limit exceeded"}
    chain.pay([(first, 1_000)])
    assert api("POST", "new_address").status_code == 200
    assert api("POST", "new_address").status_code == 500


def test_the_gap_limit_is_twenty_unless_said_otherwise(api, store):
    statuses = [api("POST", "new_address").status_code for _ in range(21)]

    assert statuses == [200] * 20 + [500]


def test_a_wallet_may_have_a_wider_gap(api, store, bitcoin_wallet, change):
    change(gap_limit=1)
    bitcoin_wallet.gap_limit = 2
    bitcoin_wallet.save()

    assert [api("POST", "new_address").status_code for _ in range(3)] == [200, 200, 500]


def test_reset_never_meets_the_gap_limit(api, store, change):
    change(gap_limit=1)
    api("POST", "new_address")

    assert api("POST", "new_address", reset=1).status_code == 200


@pytest.mark.parametrize(
    ("code", "words"), [(1006, "exceeded"), (1008, "no payments"), (1009, "funds")]
)
def test_the_gap_limit_has_three_codes(api, store, change, code, words):
    change(
        faults={"new_address": "gap_limit"},
        gap_limit_code=code,
        gap_limit_http_status=400,
        error_shape="nested",
    )

    response = api("POST", "new_address")

    assert response.status_code == 400
    assert response.json()["error"]["code"] == code
    assert words in response.json()["error"]["message"]


# The forms of errors


@pytest.mark.parametrize(
    ("shape", "body"),
    [
        ("message", {"message": "Could not find matching xpub"}),
        ("legacy", {"status": 500, "message": "Could not find matching xpub"}),
        ("nested", {"error": {"message": "Could not find matching xpub", "code": 1003}}),
        ("string", {"error": "Could not find matching xpub"}),
    ],
)
def test_errors_take_the_form_that_is_set(api, store, change, shape, body):
    change(error_shape=shape)

    response = api("POST", "new_address", match_callback="nowhere")

    assert (response.status_code, response.json()) == (500, body)

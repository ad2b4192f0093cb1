"""Stores and wallets of an account, by /api/v2."""

import pytest

from sandbox import chain, conf
from sandbox.models import Account, Store
from tests.sandbox.conftest import CALLBACK
from tests.sandbox.test_keys import ZPUB

pytestmark = pytest.mark.django_db


def test_stores_are_listed_with_their_wallets(api, store, bitcoin_wallet):
    listed = api("GET", "stores", wallets="true").json()

    assert listed == {
        "data": [
            {
                "id": store.pk,
                "name": "Prints",
                "emailid": store.account.emailid,
                "http_callback": CALLBACK,
                "wallets": [
                    {
                        "id": bitcoin_wallet.pk,
                        "name": "Savings",
                        "emailid": store.account.emailid,
                        "crypto": "BTC",
                        "address": conf.TEST_KEY,
                        "xpub_index": 0,
                        "gap_limit": None,
                        "created_at": bitcoin_wallet.created_at.isoformat(),
                    }
                ],
            }
        ]
    }
    assert "wallets" not in api("GET", "stores").json()["data"][0]


def test_a_store_is_made_changed_and_deleted(api, account):
    made = api("POST", "stores", body={"name": "New", "http_callback": CALLBACK}).json()["data"]
    assert (made["name"], made["http_callback"], made["wallets"]) == ("New", CALLBACK, [])

    changed = api("POST", "store", made["id"], body={"name": "Newer"}).json()["data"]
    assert (changed["name"], changed["http_callback"]) == ("Newer", CALLBACK)
    assert api("GET", "store", made["id"]).json()["data"] == changed

    assert api("DELETE", "store", made["id"]).json() == {"data": {"id": made["id"]}}
    assert api("GET", "store", made["id"]).status_code == 404


def test_making_a_store_twice_makes_two(api, account):
    for _ in range(2):
        api("POST", "stores", body={"name": "", "http_callback": CALLBACK})

    assert Store.objects.count() == 2


@pytest.mark.parametrize("body", [{"http_callback": "ftp://x"}, {"http_callback": "http://["}, []])
def test_a_store_with_a_bad_url_is_refused(api, account, body):
    response = api("POST", "stores", body=body)

    assert response.status_code == 400
    assert response.json()["error"]["code"] == 1010


def test_a_host_without_a_dot_may_be_called(api, account):
    body = {"http_callback": "http://shop:8000/callback"}

    assert api("POST", "stores", body=body).status_code == 200


def test_a_wallet_is_attached_and_detached(api, store, bitcoin_wallet):
    Store.objects.update(wallet=None)
    body = {"wallet_id": bitcoin_wallet.pk}

    attached = api("POST", "store_wallets", store.pk, body=body).json()["data"]["wallets"]

    assert [(wallet["id"], wallet["crypto"]) for wallet in attached] == [(bitcoin_wallet.pk, "BTC")]
    assert api("GET", "store_wallets", store.pk).json()["data"]["wallets"] == attached
    detached = api("DELETE", "store_wallet", store.pk, bitcoin_wallet.pk)
    assert detached.json() == {"data": {"wallets": []}}
    assert api("DELETE", "store_wallet", store.pk, bitcoin_wallet.pk).status_code == 404


@pytest.mark.parametrize(("wallet_id", "status"), [(10**6, 404), ("1", 400), (None, 400)])
def test_a_wallet_that_is_none_is_not_attached(api, store, wallet_id, status):
    body = {"wallet_id": wallet_id}

    assert api("POST", "store_wallets", store.pk, body=body).status_code == status


def test_a_wallet_is_made_changed_and_deleted(api, account):
    body = {"name": "Cold", "address": ZPUB, "crypto": "BTC"}
    made = api("POST", "wallets", body=body).json()["data"]
    assert (made["name"], made["address"], made["xpub_index"]) == ("Cold", ZPUB, 0)

    changed = api("POST", "wallet_detail", made["id"], body={"name": "Ice", "gap_limit": 50})
    assert changed.json()["data"]["gap_limit"] == 50
    assert [wallet["name"] for wallet in api("GET", "wallets").json()["data"]] == ["Ice"]

    assert api("DELETE", "wallet_detail", made["id"]).status_code == 200
    assert api("GET", "wallets").json() == {"data": []}


def test_a_wallet_tells_its_balance(api, new_address, bitcoin_wallet, change):
    change(price=100000)
    chain.pay([(new_address(), 150_000_000)])
    chain.mine(2)
    chain.pay([(new_address(), 1_000_000)])

    balance = api("GET", "wallet_detail", bitcoin_wallet.pk, balance="true").json()["data"][
        "balance"
    ]

    assert balance == {
        "confirmed_sats": 150_000_000,
        "unconfirmed_sats": 1_000_000,
        "confirmed_fiat": "150000.00",
        "unconfirmed_fiat": "1000.00",
        "fiat_currency": "USD",
        "total_addresses": 2,
    }


@pytest.mark.parametrize("address", ["nonsense", "", ZPUB[:-1]])
def test_a_wallet_needs_an_extended_public_key(api, account, address):
    assert api("POST", "wallets", body={"address": address}).status_code == 400


def test_a_key_is_added_once(api, bitcoin_wallet):
    assert api("POST", "wallets", body={"address": conf.TEST_KEY}).status_code == 400


@pytest.mark.parametrize(("crypto", "status"), [("USDT", 400), ("DOGE", 422), (None, 422)])
def test_wallets_of_other_coins_are_refused(api, account, crypto, status):
    body = {"address": ZPUB, "crypto": crypto}

    assert api("POST", "wallets", body=body).status_code == status


@pytest.mark.parametrize("name", ["stores", "wallets"])
def test_strangers_see_nothing(api, name):
    assert api("GET", name, key="wrong").status_code == 401


def test_the_things_of_another_account_are_not_there(api, store, bitcoin_wallet):
    Account.objects.create(api_key="another-key")

    assert api("GET", "stores", key="another-key").json() == {"data": []}
    assert api("GET", "store", store.pk, key="another-key").status_code == 404
    assert api("DELETE", "wallet_detail", bitcoin_wallet.pk, key="another-key").status_code == 404

"""searchhistory, balance, tx_detail and tx: what was paid, asked for afterwards."""

import pytest
from django.test import Client
from django.urls import reverse

from sandbox import chain, conf, keys

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["POST", "GET"])
def look(request, api):
    """look("balance", "a b"): the call in both of its forms."""

    def call(name, addr):
        if request.param == "GET":
            return api("GET", name, addr=addr)
        return api("POST", name, body={"addr": addr})

    return call


def test_the_history_tells_pending_from_final(look, new_address):
    address = new_address()
    final = chain.pay([(address, 1_000)])
    chain.mine()
    partly = chain.pay([(address, 2_000)])
    chain.mine()
    fresh = chain.pay([(address, 3_000)], rbf=1)

    found = look("searchhistory", address).json()

    when = int(fresh.seen_at.timestamp())
    assert found["pending"] == [
        {
            "status": 0,
            "addr": [address],
            "time": when,
            "value": 3_000,
            "txid": fresh.txid,
            "rbf": 1,
        },
        {
            "status": 1,
            "addr": [address],
            "time": int(partly.seen_at.timestamp()),
            "value": 2_000,
            "txid": partly.txid,
        },
    ]
    assert found["history"] == [
        {
            "addr": [address],
            "time": int(final.seen_at.timestamp()),
            "value": 1_000,
            "txid": final.txid,
        }
    ]


def test_several_addresses_are_taken_for_one_wallet(look, new_address):
    first, second = new_address(), new_address()
    chain.pay([(first, 1_000), (second, 5_000), (chain.CUSTOMER, 1_000)])

    [entry] = look("searchhistory", f"{first}  {second}").json()["pending"]

    assert (entry["value"], entry["addr"]) == (6_000, [first, second])


@pytest.mark.parametrize("separator", [" ", ",", ", ", " ,\n", "  "])
def test_addresses_are_split_by_commas_spaces_or_both(look, new_address, separator):
    first, second = new_address(), new_address()
    chain.pay([(first, 1_000), (second, 5_000)])
    asked = separator.join([first, second])

    [entry] = look("searchhistory", asked).json()["pending"]

    assert entry["addr"] == [first, second]
    assert [row["addr"] for row in look("balance", asked).json()["response"]] == [first, second]


def test_who_pays_sees_a_negative_value(look, new_address):
    payment = chain.pay([(new_address(), 12_345)])
    change = next(o.address for o in payment.outputs.all() if o.is_change)

    [entry] = look("searchhistory", " ".join([*payment.payers, change])).json()["pending"]

    assert len(payment.payers) == 2
    assert entry["value"] == -12_345 - payment.fee
    assert set(entry["addr"]) == {*payment.payers, change}


def test_a_key_stands_for_the_addresses_it_gave(look, new_address):
    address = new_address()
    chain.pay([(address, 7_000)])

    assert look("searchhistory", conf.TEST_KEY).json()["pending"][0]["addr"] == [address]
    assert look("balance", conf.TEST_KEY).json()["response"][0]["unconfirmed"] == 7_000


def test_a_transaction_that_is_gone_is_not_found(look, api, new_address):
    address = new_address()
    payment = chain.pay([(address, 7_000)])
    chain.drop(payment.txid)

    assert look("searchhistory", address).json() == {"pending": [], "history": []}
    assert api("GET", "tx_detail", txid=payment.txid).status_code == 404


def test_no_more_than_200_transactions_are_listed(api, new_address):
    address = new_address()
    newest = [chain.pay([(address, value)]) for value in range(1_000, 1_202)][-1]

    found = api("GET", "searchhistory", addr=address).json()["pending"]

    assert len(found) == 200
    assert found[0]["txid"] == newest.txid


def test_a_balance_waits_for_two_confirmations(look, new_address):
    first, second = new_address(), new_address()
    chain.pay([(first, 100_000)])
    chain.mine(2)
    chain.pay([(first, 20_000), (second, 3_000)])
    chain.mine(1)
    chain.pay([(first, 1_000)])

    assert look("balance", f"{first} {second}").json() == {
        "response": [
            {"confirmed": 100_000, "addr": first, "unconfirmed": 21_000},
            {"confirmed": 0, "addr": second, "unconfirmed": 3_000},
        ]
    }


@pytest.mark.parametrize("name", ["searchhistory", "balance"])
@pytest.mark.parametrize(
    "addr", ["", " , ", "nonsense", "1TestBTCAddressAbc", f"{chain.CUSTOMER} x"]
)
def test_what_is_no_address_is_refused(look, account, name, addr):
    response = look(name, addr)

    assert (response.status_code, response.json()) == (400, {"message": "invalid_input"})


@pytest.mark.parametrize("name", ["searchhistory", "balance"])
def test_strangers_learn_nothing(api, name):
    assert api("POST", name, key="wrong", body={"addr": chain.CUSTOMER}).status_code == 401


def test_more_than_a_hundred_addresses_are_too_many(api, account):
    addresses = " ".join(keys.address_at(conf.TEST_KEY, index) for index in range(101))

    assert api("POST", "balance", body={"addr": addresses}).status_code == 400


@pytest.mark.parametrize("body", [[], {"addr": 5}, {}])
def test_a_body_of_another_form_is_refused(api, account, body):
    assert api("POST", "searchhistory", body=body).status_code == 400


def test_calls_can_be_limited_per_minute(api, account, change):
    change(search_calls_per_minute=2)
    calls = [api("GET", "balance", addr=chain.CUSTOMER).status_code for _ in range(2)]
    calls.append(api("GET", "searchhistory", addr=chain.CUSTOMER).status_code)

    assert calls == [200, 200, 429]


def test_a_transaction_is_told_in_detail(api, new_address):
    address = new_address()
    payment = chain.pay([(address, 5_000), (chain.CUSTOMER, 6_000)], rbf=2)

    detail = api("GET", "tx_detail", key=None, txid=payment.txid).json()

    spent, paid = detail.pop("vin"), detail.pop("vout")
    assert detail == {
        "status": "Unconfirmed",
        "fee": payment.fee,
        "time": int(payment.seen_at.timestamp()),
        "size": payment.size,
        "rbf": 2,
    }
    assert {"value": 5_000, "address": address} in paid
    assert {"value": 6_000, "address": chain.CUSTOMER} in paid
    assert [coin["value"] for coin in spent] == [10_000, 10_000]
    assert len(paid) == 3
    assert sum(o["value"] for o in spent) == sum(o["value"] for o in paid) + payment.fee


def test_a_transaction_goes_through_three_states(api, new_address):
    payment = chain.pay([(new_address(), 5_000)], rbf=1)
    states = []
    for _ in range(3):
        detail = api("GET", "tx_detail", txid=payment.txid).json()
        states.append((detail["status"], detail.get("rbf")))
        chain.mine()

    assert states == [("Unconfirmed", 1), ("Partially Confirmed", None), ("Confirmed", None)]


@pytest.mark.parametrize("txid", ["", "0" * 64, "\0", "A" * 64, "x"])
def test_an_unknown_transaction_is_not_found(api, txid):
    assert api("GET", "tx_detail", txid=txid).status_code == 404


def test_tx_detail_can_ask_for_the_key(api, change):
    change(tx_detail_needs_key=True)

    assert api("GET", "tx_detail", key=None, txid="0" * 64).status_code == 401
    assert api("GET", "tx_detail", txid="0" * 64).status_code == 404


# What else there is below /api/


def test_the_link_of_a_receipt_leads_to_the_explorer(api, client, new_address):
    address = new_address()
    payment = chain.pay([(address, 5_000)])

    response = api("GET", "tx", key=None, txid=payment.txid, addr=address)

    assert response.status_code == 302
    assert response.url == reverse("sandbox:transaction", args=[payment.txid])
    assert payment.txid in client.get(response.url).content.decode()


@pytest.mark.parametrize("txid", ["", "0" * 64, "\0", "../settings"])
def test_a_receipt_of_nothing_leads_nowhere(api, db, txid):
    response = api("GET", "tx", txid=txid)

    assert (response.status_code, response.json()) == (404, {"message": "Transaction not found"})


@pytest.mark.parametrize("path", ["api/", "api/nonsense", "api/v2/payments", "api/v2/stores/x/"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_an_unknown_path_answers_json(db, path, method):
    strict = Client(enforce_csrf_checks=True)

    response = strict.generic(method, reverse("sandbox:wallet") + path)

    assert (response.status_code, response.json()) == (404, {"message": "Call not found"})


def test_a_wrong_method_answers_json(api, account):
    response = api("DELETE", "balance")

    assert (response.status_code, response["Allow"]) == (405, "GET, POST")
    assert response.json() == {"message": "Method not allowed"}

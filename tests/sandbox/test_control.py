"""The verbs at control/<verb>/."""

from decimal import Decimal
from pathlib import Path

import pytest
from django.urls import reverse

import sandbox
from sandbox import chain
from sandbox.control import SETTABLE, VERBS
from sandbox.models import FAULTS, Settings, Transaction

pytestmark = pytest.mark.django_db

SOMEBODY = chain.CUSTOMER


@pytest.fixture
def txid(control):
    return control("pay", address=SOMEBODY, value=1000)["txid"]


def test_pay_answers_the_transactions_id(control):
    txid = control("pay", address=SOMEBODY, value=1000, rbf=2)["txid"]

    payment = Transaction.objects.get(txid=txid)
    assert (payment.value_to(SOMEBODY), payment.rbf) == (1000, 2)


def test_one_transaction_pays_several(control, new_address):
    other = new_address()
    outputs = [{"address": SOMEBODY, "value": 1_000}, {"address": other, "value": 2_000}]

    txid = control("pay", outputs=outputs)["txid"]

    assert [o.address for o in Transaction.objects.get(txid=txid).payments] == [SOMEBODY, other]


def test_mine_answers_the_height(control):
    assert control("mine")["height"] + 2 == control("mine", blocks=2)["height"]


def test_replace_answers_the_new_id(control, txid, new_address):
    new = control("replace", txid=txid, value=500, address=new_address())["txid"]

    assert Transaction.objects.get(txid=txid).replaced_by.txid == new
    assert Transaction.objects.get(txid=new).total == 500


def test_drop_answers_nothing(control, txid):
    assert control("drop", txid=txid) == {}
    assert not Transaction.objects.alive().exists()


def test_reorg_answers_the_height(control, txid):
    height = control("mine", blocks=3)["height"]

    assert control("reorg", blocks=2) == {"height": height - 2}


@pytest.mark.parametrize("verb", ["replace", "drop"])
def test_an_unknown_transaction_is_not_found(control, verb):
    assert "explorer" in control(verb, status=404, txid="0" * 64)["error"]


def test_an_unknown_verb_is_not_found(control):
    assert "pay, mine" in control("steal", status=404)["error"]


@pytest.mark.parametrize("verb", ["replace", "drop"])
def test_a_mined_transaction_stays(control, txid, verb):
    control("mine")

    assert "reorg" in control(verb, status=400, txid=txid)["error"]


@pytest.mark.parametrize(
    ("verb", "body", "complaint"),
    [
        ("pay", {}, "address must be a text"),
        ("pay", {"address": SOMEBODY}, "value must be a whole number"),
        ("pay", {"address": SOMEBODY, "value": "5"}, "value must be a whole number"),
        ("pay", {"address": SOMEBODY, "value": 5.0}, "value must be a whole number"),
        ("pay", {"address": SOMEBODY, "value": True}, "value must be a whole number"),
        ("pay", {"address": SOMEBODY, "value": -5}, "value must be a whole number"),
        ("pay", {"address": SOMEBODY, "value": 5}, "5 satoshis are dust"),
        ("pay", {"address": "nonsense", "value": 5}, "no Bitcoin address"),
        ("pay", {"address": SOMEBODY, "value": 5, "rbf": 3}, "rbf must be"),
        ("pay", {"address": SOMEBODY, "value": 5, "fee": 3}, "'fee' is unknown here"),
        ("pay", {"outputs": []}, "outputs must be a list"),
        ("pay", {"outputs": [5]}, "outputs must be a list"),
        ("mine", {"blocks": 0}, "blocks must be a whole number"),
        ("mine", {"blocks": "1"}, "blocks must be a whole number"),
        ("replace", {}, "txid must be a text"),
        ("replace", {"txid": "x", "value": 1.5}, "value must be a whole number"),
        ("replace", {"txid": "x", "address": 5}, "address must be a text"),
        ("reorg", {"blocks": 1}, "only 0 blocks"),
        ("settings", {"colour": "red"}, "'colour' is unknown here"),
        ("settings", {"price": "much"}, "no number"),
        ("settings", {"price": "NaN"}, "no number"),
        ("settings", {"price": None}, "must be a number"),
        ("settings", {"price": 0}, "price:"),
        ("settings", {"price": [1]}, "must be a number"),
        ("settings", {"callbacks": "sometimes"}, "callbacks:"),
        ("settings", {"callbacks": 5}, "must be of the type str"),
        ("settings", {"callback_crypto": 1}, "must be of the type bool"),
        ("settings", {"gap_limit": 1.5}, "must be of the type int"),
        ("settings", {"gap_limit_code": 7}, "gap_limit_code:"),
        ("settings", {"faults": "timeout"}, "faults:"),
        ("settings", {"faults": {"price": "sulks"}}, "price knows the faults"),
        ("settings", {"faults": {"prize": "500"}}, "There is no call"),
        ("settings", {"faults": {"price": []}}, "price knows the faults"),
        ("settings", {"skipped_statuses": [3]}, "skipped_statuses:"),
        ("reset", {"price": 1}, "Known are: none"),
    ],
)
def test_bad_input_is_refused_and_says_what_to_do(control, verb, body, complaint):
    assert complaint in control(verb, status=400, **body)["error"]


@pytest.mark.parametrize("body", ["no json", "[]", "5", "\xff"])
def test_a_body_that_is_no_object_is_refused(client, body):
    url = reverse("sandbox:control", args=["mine"])
    response = client.post(url, body.encode("latin-1"), content_type="application/json")

    assert response.status_code == 400
    assert "body" in response.json()["error"]


def test_verbs_are_posted_with_or_without_a_slash(client):
    url = reverse("sandbox:control", args=["mine"]).rstrip("/")

    assert client.get(url).status_code == 405
    assert client.post(url, "{}", content_type="application/json").status_code == 200
    assert client.post(f"{url}/", "{}", content_type="application/json").status_code == 200


@pytest.mark.parametrize("price", ["65000.10", 65000, 65000.1])
def test_a_price_may_be_a_number_or_a_text(control, price):
    control("settings", price=price)

    assert Settings.objects.current().price == Decimal(str(price))


def test_settings_without_changes_are_only_read(control):
    before = control("settings")

    assert control("settings") == before
    assert before["price"] == "97123.45"
    assert before["faults"]["new_address"] == "none"


def test_every_setting_can_be_sent_back_as_it_was_read(control):
    settings = control("settings")

    assert control("settings", **settings) == settings


def test_faults_are_changed_call_by_call(control):
    control("settings", faults={"price": "null"})

    faults = control("settings", faults={"balance": "500"})["faults"]

    assert (faults["price"], faults["balance"]) == ("null", "500")


def test_the_readme_explains_every_setting_fault_and_verb():
    readme = (Path(sandbox.__file__).parent / "README.md").read_text()
    faults = {fault for of_call in FAULTS.values() for fault in of_call}

    for word in {*SETTABLE, *VERBS, *faults}:
        assert f"`{word}`" in readme or f'"{word}"' in readme, word


def test_a_replaceable_payment_may_be_asked_for_in_plain_words(control):
    txid = control("pay", address=SOMEBODY, value=1_000, rbf=True)["txid"]

    assert Transaction.objects.get(txid=txid).rbf == Transaction.Replaceable.OPT_IN

"""The door of Blockonomics: GET /payments/callback/blockonomics"""

import pytest
from django.db import OperationalError
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from payments import settling
from payments.models import Callback, Delivery, Invoice, Transaction
from payments.presentation import status_of
from tests.conftest import SECRET, txid

DOOR = "/payments/callback/blockonomics"


def test_a_confirmed_payment_is_recorded(call_back, invoice):
    response = call_back(invoice)

    assert (response.status_code, response.content) == (200, b"ok")
    assert Invoice.objects.get().settlement == "paid"
    assert Callback.objects.get().outcome == "recorded"


def test_the_door_opens_with_and_without_a_closing_slash(client, invoice):
    query = f"?secret={SECRET}&addr={invoice.attempt.reference}&value=10000&txid={txid(1)}&status="

    assert client.get(f"{DOOR}{query}0").status_code == 200
    assert client.get(f"{DOOR}/{query}1").status_code == 200
    assert status_of(Invoice.objects.get()) == 1


def test_the_network_is_followed_step_by_step(call_back, invoice):
    seen = []
    for status in (0, 1, 2):
        call_back(invoice, status=status)
        invoice.refresh_from_db()
        seen.append((status_of(Invoice.objects.get()), invoice.settlement))

    assert seen == [(0, "confirming"), (1, "confirming"), (2, "paid")]


def test_a_repeat_is_answered_200_and_changes_nothing(call_back, invoice):
    call_back(invoice)

    assert call_back(invoice).status_code == 200
    assert Transaction.objects.count() == Delivery.objects.count() == 1
    assert [callback.outcome for callback in Callback.objects.all()] == ["known", "recorded"]


def test_an_unknown_address_is_kept_in_the_inbox(call_back, db):
    response = call_back(value=123)

    callback = Callback.objects.get()
    assert response.status_code == 200
    assert callback.outcome == "unknown"
    assert "value=123" in callback.query


@pytest.mark.parametrize("secret", [None, "", "wrong", SECRET.upper(), SECRET + " ", "ü", "\0"])
def test_a_stranger_is_turned_away_and_leaves_no_trace(call_back, invoice, secret):
    response = call_back(invoice, secret=secret)

    assert response.status_code == 403
    assert not Callback.objects.exists()
    assert not Transaction.objects.exists()


def test_without_a_configured_secret_nobody_comes_in(call_back, invoice, settings):
    settings.BLOCKONOMICS_CALLBACK_SECRETS = []

    assert call_back(invoice, secret="").status_code == 403
    assert call_back(invoice, secret=None).status_code == 403


def test_both_secrets_open_the_door_while_one_is_replaced(call_back, invoice, settings):
    settings.BLOCKONOMICS_CALLBACK_SECRETS = ["the new one", SECRET]

    assert call_back(invoice, status=0).status_code == 200
    assert call_back(invoice, status=1, secret="the new one").status_code == 200


def test_a_stranger_learns_nothing_from_the_answer(call_back, invoice):
    known = call_back(invoice, secret="wrong")
    unknown = call_back(secret="wrong")

    assert known.content == unknown.content


@pytest.mark.parametrize(
    "wrong",
    [
        {"addr": None},
        {"addr": ""},
        {"addr": "x" * 200},
        {"addr": "tb1q'; DROP TABLE"},
        {"status": None},
        {"status": "3"},
        {"status": "-2"},
        {"status": "two"},
        {"status": "²"},
        {"value": None},
        {"value": "0"},
        {"value": "-1"},
        {"value": "1.5"},
        {"value": "1e4"},
        {"value": "１００"},
        {"value": "9" * 17},
        {"value": "9" * 5000},
        {"value": "NaN"},
        {"txid": None},
        {"txid": ""},
        {"txid": "ab" * 31},
        {"txid": "g" * 64},
        {"txid": "WarningThisIsAGeneratedTestPaymentAndNotARealBitcoinTransaction"},
        {"status": "0", "rbf": "3"},
        {"status": "0", "rbf": "yes"},
        {"status": ["2", "0"]},
    ],
)
def test_nonsense_is_answered_400_and_kept_in_the_inbox(client, invoice, wrong):
    query = {
        "secret": SECRET,
        "addr": invoice.attempt.reference,
        "status": "2",
        "value": "10000",
        "txid": txid(1),
        **wrong,
    }

    response = client.get(DOOR, {name: given for name, given in query.items() if given is not None})

    assert response.status_code == 400
    assert Callback.objects.get().outcome == "malformed"
    assert Callback.objects.get().note
    assert not Transaction.objects.exists()


@pytest.mark.parametrize("beside", [{"crypto": "USDT"}, {"crypto": "A\0B"}, {"status": "-1"}])
def test_what_is_no_bitcoin_payment_is_kept_and_not_applied(call_back, invoice, beside):
    response = call_back(invoice, **beside)

    assert response.status_code == 200
    assert Callback.objects.get().outcome == "not-applicable"
    assert not Transaction.objects.exists()


def test_parameters_of_others_are_welcome(call_back, invoice):
    assert call_back(invoice, crypto="BTC", key="own", testnet="0").status_code == 200
    assert Invoice.objects.get().settlement == "paid"


def test_a_capital_address_is_the_same_address(call_back, invoice):
    call_back(invoice, addr=invoice.attempt.reference.upper())

    assert Invoice.objects.get().settlement == "paid"


@pytest.mark.parametrize("method", ["post", "put", "patch", "delete", "head", "options"])
def test_only_get_is_allowed(client, db, method):
    response = getattr(client, method)(f"{DOOR}?secret={SECRET}")

    assert response.status_code == 405
    assert response["Allow"] == "GET"


def test_an_unknown_provider_is_a_404(client, db):
    assert client.get("/payments/callback/nobody").status_code == 404


def test_a_database_in_trouble_asks_for_another_try(call_back, invoice, monkeypatch):
    def locked(*args, **kwargs):
        raise OperationalError("database is locked")

    monkeypatch.setattr(Callback.objects, "create", locked)

    response = call_back(invoice)

    assert response.status_code == 503
    assert response["Retry-After"]
    monkeypatch.undo()
    assert call_back(invoice).status_code == 200
    assert Invoice.objects.get().settlement == "paid"


def test_a_bug_of_ours_loses_nothing(call_back, invoice, monkeypatch):
    monkeypatch.setattr(settling, "settle", lambda invoice, at, by: 1 / 0)

    response = call_back(invoice)

    callback = Callback.objects.get()
    assert response.status_code == 503
    assert callback.outcome == "failed"
    assert callback.note.startswith("ZeroDivisionError")
    assert not Transaction.objects.exists()
    monkeypatch.undo()
    assert call_back(invoice).status_code == 200
    assert Invoice.objects.get().settlement == "paid"


def test_too_many_parameters_make_no_sense(client, db):
    query = "&".join(f"p{number}=1" for number in range(1_001))

    assert client.get(f"{DOOR}?{query}").status_code == 400
    assert not Callback.objects.exists()


def test_the_inbox_never_holds_the_secret(call_back, invoice):
    call_back(invoice)
    call_back(invoice, status="nonsense")

    for callback in Callback.objects.all():
        assert SECRET not in f"{callback.query} {callback.note}"


def test_simulated_payments_count_in_test_mode_only(call_back, invoice, settings):
    settings.BLOCKONOMICS_TEST_MODE = True

    response = call_back(
        invoice, txid="WarningThisIsAGeneratedTestPaymentAndNotARealBitcoinTransaction"
    )

    assert response.status_code == 200
    assert Invoice.objects.get().settlement == "paid"


def test_no_answer_is_ever_cached(call_back, invoice):
    assert "no-store" in call_back(invoice)["Cache-Control"]


names = st.sampled_from(["addr", "status", "value", "txid", "rbf", "crypto"]) | st.text(max_size=9)
values = st.text(max_size=90) | st.integers().map(str) | st.sampled_from(["", "0", "2", "\0"])


@given(query=st.dictionaries(names, values, max_size=9), knows_the_secret=st.booleans())
@hypothesis_settings(
    max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
def test_whatever_is_sent_there_is_no_5xx(client, db, query, knows_the_secret):
    before = Callback.objects.count()
    query.pop("secret", None)

    response = client.get(DOOR, {**query, "secret": SECRET if knows_the_secret else "guess"})

    assert response.status_code in ({200, 400} if knows_the_secret else {403})
    assert Callback.objects.count() == before + knows_the_secret

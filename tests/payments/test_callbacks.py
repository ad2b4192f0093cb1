"""The inbox: whatever arrives with the right secret is stored before it is judged."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.contrib.auth.models import Permission, User
from django.core.cache import cache
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from payments import ingestion, settling
from payments.models import Callback, Delivery, Invoice, PaymentAttempt, Transaction
from payments.models import callback as inbox
from payments.providers.blockonomics import Blockonomics, messages
from tests.conftest import SECRET, address, txid

DOOR = "/payments/callback/blockonomics"
CALLBACKS = "/admin/payments/callback/"


@pytest.fixture
def bug(monkeypatch):
    """A bug in the judging; to be mended by `bug.undo()`."""

    def fail(*args, **kwargs):
        raise ZeroDivisionError("a bug in the books")

    monkeypatch.setattr(settling, "settle", fail)
    return monkeypatch


@pytest.fixture
def process_again(client):
    """A clerk with these permissions has all callbacks processed again; answers the page."""

    def process(permissions=("view_callback", "change_callback")):
        clerk, is_new = User.objects.get_or_create(username="clerk", is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(clerk)
        chosen = list(Callback.objects.values_list("pk", flat=True))
        form = {"action": "process_again", "_selected_action": chosen}
        return unescape(client.post(CALLBACKS, form, follow=True).content.decode())

    return process


@pytest.fixture
def listed(admin_client):
    """The ids of the callbacks that the desk lists, given what was asked for."""

    def ids(**query):
        page = admin_client.get(CALLBACKS, query).content.decode()
        return {int(pk) for pk in re.findall(r"/admin/payments/callback/(\d+)/change/", page)}

    return ids


def kept():
    return Callback.objects.get()


# What is kept, and what became of it


@pytest.mark.parametrize(
    ("query", "code", "outcome", "note"),
    [
        ({}, 200, "recorded", ""),
        ({"addr": address(9_999)}, 200, "unknown", ""),
        ({"status": "-1"}, 200, "not-applicable", "Status -1 says nothing"),
        ({"crypto": "BCH"}, 200, "not-applicable", "It is about BCH"),
        ({"status": "7"}, 400, "malformed", "status: a whole number from -1 to 2"),
        ({"status": ""}, 400, "malformed", "status: a whole number"),
        ({"value": "0"}, 400, "malformed", "value: a whole number from 1"),
        ({"value": "1e3"}, 400, "malformed", "value: a whole number"),
        ({"txid": "x"}, 400, "malformed", "txid: 64 hexadecimal digits"),
        ({"addr": "?"}, 400, "malformed", "addr: a bitcoin address"),
        ({"value": ["1", "2"]}, 400, "malformed", "Each parameter may be given once"),
    ],
)
def test_it_is_kept_with_its_outcome_and_the_reason(
    client, invoice, query, code, outcome, note, admin_client
):
    usual = {
        "secret": SECRET,
        "addr": invoice.attempt.reference,
        "status": "2",
        "value": "10000",
        "txid": txid(1),
    }

    response = client.get(DOOR, {**usual, **query})

    assert response.status_code == code
    callback = kept()
    assert callback.outcome == outcome
    assert callback.note.startswith(note) and bool(callback.note) == bool(note)
    assert callback.invoice == (invoice if outcome == "recorded" else None)
    assert SECRET not in callback.query
    page = unescape(admin_client.get(f"{CALLBACKS}{callback.pk}/change/").content.decode())
    assert callback.get_outcome_display() in page
    assert note in page
    assert SECRET not in page


def test_hearing_it_again_is_kept_as_known(invoice, call_back):
    call_back(invoice)
    call_back(invoice)

    assert [callback.outcome for callback in Callback.objects.all()] == ["known", "recorded"]


@pytest.mark.parametrize("secret", ["", "wrong", SECRET + "x", None])
def test_without_the_secret_nothing_is_kept(invoice, call_back, secret):
    assert call_back(invoice, secret=secret).status_code == 403
    assert not Callback.objects.exists()


def test_a_secret_in_the_wrong_place_is_not_kept_either(invoice, call_back):
    call_back(invoice, label=f"see {SECRET}", **{SECRET: "1"})

    assert SECRET not in kept().query
    assert "label=see+%5Bsecret%5D" in kept().query


def test_more_fields_than_a_request_may_have_are_not_kept(client, db):
    query = "&".join(f"a{number}=1" for number in range(1_001))

    response = client.get(f"{DOOR}?secret={SECRET}&{query}")

    assert response.status_code == 400
    assert not Callback.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_it_is_committed_before_it_is_judged(invoice, call_back, monkeypatch):
    seen = []

    def judge(provider, report, *args, **kwargs):
        seen.append((connection.in_atomic_block, kept().outcome))
        raise SystemExit("the process dies in the middle")

    monkeypatch.setattr(ingestion, "record_report", judge)
    with pytest.raises(SystemExit):
        call_back(invoice)

    assert seen == [(False, "received")]
    assert kept().outcome == "received"


def test_a_bug_in_the_judging_loses_nothing(invoice, call_back, bug):
    response = call_back(invoice)

    assert response.status_code == 503
    assert kept().outcome == "failed"
    assert kept().note == "ZeroDivisionError: a bug in the books"
    assert not Transaction.objects.of(invoice).exists()


def test_a_bug_in_the_reading_loses_nothing(invoice, call_back, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("a bug in the reading")

    monkeypatch.setattr(messages.PaymentCallback, "model_validate", fail)
    response = call_back(invoice)

    assert response.status_code == 503
    assert kept().outcome == "failed"
    assert kept().note == "ZeroDivisionError: a bug in the reading"
    assert txid(1) in kept().query
    assert SECRET not in kept().query


def test_whatever_a_bug_says_can_be_kept(invoice, call_back, monkeypatch):
    def fail(*args, **kwargs):
        raise ZeroDivisionError("nul \0 within")

    monkeypatch.setattr(messages.PaymentCallback, "model_validate", fail)

    assert call_back(invoice).status_code == 503
    assert kept().note == "ZeroDivisionError: nul  within"


def test_a_bug_in_the_reading_opens_no_door(invoice, call_back, monkeypatch):
    monkeypatch.setattr(Blockonomics, "parse", lambda self, callback: 1 / 0)

    assert call_back(invoice, secret="wrong").status_code == 403
    assert not Callback.objects.exists()


# Processed again


def test_after_the_bug_is_mended_it_is_processed_again(invoice, call_back, bug, process_again):
    call_back(invoice)
    bug.undo()

    page = process_again()

    callback = kept()
    assert (callback.outcome, callback.note, callback.invoice) == ("recorded", "", invoice)
    assert f"Callback {callback.pk}: Recorded" in page
    assert Invoice.objects.get().settlement == "paid"
    paid = invoice.timeline.get(kind="paid")
    assert paid.by == f"merchant clerk, callback {callback.pk} processed again"


def test_processed_twice_it_changes_nothing(invoice, call_back, bug, process_again):
    call_back(invoice)
    bug.undo()
    process_again()
    before = list(Invoice.objects.values()), list(invoice.timeline.values())

    page = process_again()

    assert "Already known" in page
    assert (list(Invoice.objects.values()), list(invoice.timeline.values())) == before
    assert Delivery.objects.count() == Transaction.objects.of(invoice).count() == 1


def test_an_address_that_became_known_gets_its_money(make_invoice, call_back, process_again):
    invoice = make_invoice()
    reference = invoice.attempt.reference
    PaymentAttempt.objects.update(reference=address(500))
    call_back(addr=reference)
    assert kept().outcome == "unknown"
    PaymentAttempt.objects.update(reference=reference)

    process_again()

    assert kept().outcome == "recorded"
    assert kept().invoice == invoice
    assert Invoice.objects.get().settlement == "paid"


def test_however_late_it_is_processed_the_payment_came_when_it_came(
    invoice, call_back, bug, process_again, service, time_machine
):
    call_back(invoice)
    received_at = kept().received_at
    bug.undo()
    service.answers["price"] = (200, '{"price": 1}')
    time_machine.move_to(timezone.now() + timedelta(days=2), tick=False)

    process_again()

    payment = Transaction.objects.of(invoice).get()
    assert payment.first_seen == received_at
    assert (payment.late, payment.rate) == (False, invoice.attempt.rate)
    assert Invoice.objects.get().settlement == "paid"


def test_what_was_promised_outlives_the_next_quote(
    invoice, call_back, bug, process_again, service, client, time_machine
):
    promised = invoice.attempt.rate
    call_back(invoice)
    bug.undo()
    cache.clear()
    service.answers["price"] = (200, '{"price": 1}')
    time_machine.move_to(invoice.expires_at + timedelta(minutes=5), tick=False)
    client.post(f"/payments/invoice/{invoice.key}/quote/")
    assert Invoice.objects.get().attempt.rate == 1

    process_again()

    payment = Transaction.objects.of(invoice).get()
    assert (payment.late, payment.rate) == (False, promised)
    assert Invoice.objects.get().settlement == "paid"


@pytest.mark.parametrize(("market", "late"), [(1, False), (200_000, True)])
def test_a_promise_is_kept_though_a_later_callback_was_judged_first(
    invoice, call_back, bug, process_again, service, time_machine, market, late
):
    call_back(invoice, status=0)
    bug.undo()
    cache.clear()
    service.answers["price"] = (200, f'{{"price": {market}}}')
    time_machine.move_to(invoice.expires_at + timedelta(minutes=5), tick=False)
    call_back(invoice, status=1)
    assert Transaction.objects.of(invoice).get().rate == market

    process_again()

    payment = Transaction.objects.of(invoice).get()
    assert (payment.late, payment.rate) == (late, max(market, invoice.attempt.rate))
    assert payment.confirmations == 1
    assert Invoice.objects.get().settlement == "confirming"
    assert invoice.timeline.filter(kind="valued").exists() != late


def test_what_came_between_two_quotes_was_promised_nothing(
    invoice, call_back, bug, process_again, service, client, time_machine
):
    time_machine.move_to(invoice.expires_at + timedelta(minutes=5), tick=False)
    call_back(invoice)
    bug.undo()
    cache.clear()
    service.answers["price"] = (200, '{"price": 50000}')
    time_machine.shift(timedelta(minutes=5))
    client.post(f"/payments/invoice/{invoice.key}/quote/")

    process_again()

    payment = Transaction.objects.of(invoice).get()
    assert (payment.late, payment.rate) == (True, 50_000)


def test_a_bug_that_is_not_mended_is_told(invoice, call_back, bug, process_again):
    call_back(invoice)

    page = process_again()

    assert "ZeroDivisionError: a bug in the books" in page
    assert kept().outcome == "failed"


def test_one_that_fails_does_not_keep_the_others_waiting(
    make_invoice, call_back, bug, process_again
):
    invoice = make_invoice()
    call_back(invoice, number=1)
    call_back(invoice, number=2)
    bug.undo()
    Callback.objects.filter(query__contains=txid(1)).update(provider="nobody")

    page = process_again()

    assert "KeyError" in page
    assert sorted(callback.outcome for callback in Callback.objects.all()) == ["failed", "recorded"]


@pytest.mark.parametrize(
    ("more", "outcome"), [({"status": 7}, "malformed"), ({"crypto": "BCH"}, "not-applicable")]
)
def test_what_makes_no_sense_makes_none_again(invoice, call_back, process_again, more, outcome):
    call_back(invoice, **more)
    before = Callback.objects.values().get()

    process_again()

    assert kept().outcome == outcome
    assert Callback.objects.values().get() == before


def test_a_callback_is_no_independent_word_however_it_is_processed(
    make_invoice, call_back, bug, process_again
):
    invoice = make_invoice(price="500.00")
    call_back(invoice)
    bug.undo()

    process_again()

    assert Invoice.objects.get().settlement == "confirming"


@pytest.mark.parametrize("permissions", [["view_callback"], ["view_callback", "change_invoice"]])
def test_who_may_only_look_processes_nothing(invoice, call_back, bug, process_again, permissions):
    call_back(invoice)
    bug.undo()

    page = process_again(permissions)

    assert "Process again" not in page
    assert kept().outcome == "failed"


# Found


@pytest.fixture
def one_of_each(make_invoice, call_back, monkeypatch):
    invoice = make_invoice()
    call_back(invoice, number=1)
    call_back(invoice, number=1)
    call_back(number=2)
    call_back(invoice, number=3, crypto="BCH")
    call_back(invoice, number=4, status=7)
    with monkeypatch.context() as broken:
        broken.setattr(settling, "settle", lambda *args: 1 / 0)
        call_back(invoice, number=5)
    Callback.objects.create(provider="blockonomics", query="", outcome="received")
    return {callback.outcome: callback for callback in Callback.objects.all()}


def test_the_inbox_is_filtered_by_outcome(one_of_each, listed):
    assert set(one_of_each) == set(Callback.Outcome.values)
    for outcome, callback in one_of_each.items():
        assert listed(outcome__exact=outcome) == {callback.pk}
    assert listed() == {callback.pk for callback in one_of_each.values()}


def test_the_inbox_is_searched_by_what_was_sent_and_by_order(one_of_each, listed):
    about = {one_of_each["recorded"].pk, one_of_each["known"].pk}

    assert listed(q=txid(1)) == about
    assert listed(q=Invoice.objects.get().order_code) == about
    assert listed(q="ZeroDivisionError") == {one_of_each["failed"].pk}


def test_the_inbox_is_filtered_by_day_and_provider(one_of_each, listed):
    old = one_of_each["unknown"]
    Callback.objects.filter(pk=old.pk).update(received_at=timezone.now() - timedelta(days=3))
    Callback.objects.filter(pk=one_of_each["known"].pk).update(provider="another")
    today = timezone.now().date()

    assert old.pk not in listed(received_at__gte=f"{today} 00:00:00+00:00")
    assert listed(provider__exact="another") == {one_of_each["known"].pk}


# Forgotten in the end


@pytest.fixture
def aged(invoice, call_back):
    """So many callbacks of so many days ago."""

    def make(count, days):
        moment = timezone.now() - timedelta(days=days)
        new = Callback.objects.bulk_create(
            Callback(provider="blockonomics", query=f"n={number}", outcome="known", invoice=invoice)
            for number in range(count)
        )
        Callback.objects.filter(pk__in=[one.pk for one in new]).update(received_at=moment)

    return make


def test_the_old_are_forgotten_and_the_young_are_kept(aged, settings):
    aged(3, settings.CALLBACK_RETENTION_DAYS + 1)
    aged(2, settings.CALLBACK_RETENTION_DAYS - 1)

    assert Callback.objects.prune() == 3
    assert Callback.objects.count() == 2
    assert Callback.objects.prune() == 0


def test_the_days_are_a_setting(aged, settings):
    settings.CALLBACK_RETENTION_DAYS = 5
    aged(1, 4)
    aged(1, 6)

    Callback.objects.prune()

    assert Callback.objects.count() == 1


def test_they_are_forgotten_a_batch_at_a_time(aged, settings, monkeypatch):
    monkeypatch.setattr(inbox, "ROWS_AT_A_TIME", 10)
    aged(25, settings.CALLBACK_RETENTION_DAYS + 1)

    with CaptureQueriesContext(connection) as queries:
        assert Callback.objects.prune() == 25

    deletions = [query["sql"] for query in queries if query["sql"].startswith("DELETE")]
    assert len(deletions) == 3
    assert not Callback.objects.exists()


def test_what_the_books_know_is_not_forgotten_with_the_callback(
    invoice, call_back, settings, time_machine
):
    call_back(invoice)
    time_machine.move_to(timezone.now() + timedelta(days=settings.CALLBACK_RETENTION_DAYS + 1))

    Callback.objects.prune()

    assert not Callback.objects.exists()
    assert Transaction.objects.of(invoice).count() == 1
    assert Invoice.objects.get().settlement == "paid"
    assert invoice.timeline.count() == 4


def test_reconciliation_forgets_them_even_when_nobody_answers(aged, settings, service):
    settings.BLOCKONOMICS_SEARCH_SECONDS = 0
    service.add("POST", re.compile(r".*/api/balance.*"), status=500)
    aged(3, settings.CALLBACK_RETENTION_DAYS + 1)

    call_command("reconcile")

    assert not Callback.objects.exists()

"""Big sums are checked: from VERIFY_FROM on, callbacks alone deliver nothing."""

import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape

import pytest
import requests
from django.contrib.auth.models import Permission, User
from django.core import mail
from django.core.management import call_command
from django.db import connection
from django_tasks_db.models import DBTaskResult

from payments import ingestion, presentation
from payments import review as reviews
from payments.models import Delivery, Event, Invoice, Transaction
from tests.conftest import SECRET, address, report, txid
from tests.live import Demo

from .network import detail

VERIFY = "payments.tasks.verify"
DUE = 500_000  # 500 USD at 100,000 USD for one bitcoin


@pytest.fixture
def network(transactions_known):
    return transactions_known


@pytest.fixture
def big(make_invoice):
    return make_invoice(price="500.00", email="buyer@example.com")


@pytest.fixture
def work(time_machine):
    """Runs the worker, then again after each pause, so many times."""
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)

    def work(attempts=1):
        for attempt in range(attempts):
            if attempt:
                time_machine.shift(timedelta(hours=6))
            call_command("worker", "--once")

    return work


def fresh(invoice):
    return Invoice.objects.get(pk=invoice.pk)


def story(invoice):
    return [line.kind for line in invoice.timeline.all()]


# When it is asked for


@pytest.mark.parametrize(
    ("verify_from", "total", "settlement"),
    [
        (500, "499.99", "paid"),
        (500, "500.00", "confirming"),
        (500, "500.01", "confirming"),
        (0, "0.01", "confirming"),
        (0, "500.00", "confirming"),
    ],
)
def test_from_verify_from_on_a_callback_alone_pays_nothing(
    settings, make_invoice, call_back, verify_from, total, settlement
):
    settings.VERIFY_FROM = verify_from
    invoice = make_invoice(price=total)

    response = call_back(invoice)

    assert response.status_code == 200
    assert fresh(invoice).settlement == settlement
    assert Delivery.objects.exists() == (settlement == "paid")
    wanted = [[invoice.pk]] if settlement == "confirming" else []
    tasks = DBTaskResult.objects.filter(task_path=VERIFY)
    assert [task.args_kwargs["args"] for task in tasks] == wanted


def test_nothing_is_asked_before_a_callback_says_that_it_is_confirmed(big, call_back):
    call_back(big, status=0)
    call_back(big, status=1)

    assert not DBTaskResult.objects.filter(task_path=VERIFY).exists()
    assert fresh(big).settlement == "confirming"


def test_the_question_is_rolled_back_with_the_callback(big, provider, monkeypatch):
    monkeypatch.setattr("payments.live.announce", lambda invoice: None)
    monkeypatch.setattr(
        "django.db.transaction.on_commit", lambda call: (_ for _ in ()).throw(RuntimeError)
    )

    with pytest.raises(RuntimeError):
        ingestion.record_report(provider, report(big, 1, DUE, 2))

    assert not DBTaskResult.objects.exists()
    assert not Transaction.objects.of(fresh(big)).exists()


# Who may say so


def test_tx_detail_agreeing_pays_once(big, call_back, network, work):
    network[txid(1)] = detail((address(7_000), 1_000), (big.attempt.reference, DUE))
    call_back(big)
    call_back(big)

    work()

    paid = fresh(big)
    assert paid.settlement == "paid"
    assert paid.delivery.made_at == paid.paid_at
    assert story(paid) == [
        "created",
        "seen",
        "confirmed",
        "covered",
        "verified",
        "paid",
        *["mailed"] * 2,
    ]
    assert [line.by for line in paid.timeline.filter(kind__in=["verified", "paid"])] == [
        "verification"
    ] * 2
    assert not paid.review


@pytest.mark.parametrize("witness", ["watcher", "reconcile", "verification"])
@pytest.mark.parametrize("first", ["callback", "witness"])
def test_whoever_comes_first_it_is_paid_exactly_once(
    big, call_back, provider, network, work, witness, first
):
    network[txid(1)] = detail((big.attempt.reference, DUE))

    def testify():
        ingestion.record_report(provider, report(big, 1, DUE, 2), by=witness)

    for step in (call_back, testify) if first == "callback" else (testify, call_back):
        step(big) if step is call_back else step()
    work(2)

    assert fresh(big).settlement == "paid"
    assert Delivery.objects.count() == 1
    assert story(big).count("paid") == story(big).count("verified") == 1


@pytest.mark.django_db(transaction=True)
def test_many_who_say_so_at_once_pay_once(big, provider):
    told = report(big, 1, DUE, 2)
    witnesses = ["callback", "watcher", "reconcile", "verification"] * 4

    def testify(by):
        try:
            ingestion.record_report(provider, told, by=by)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(witnesses)) as threads:
        list(threads.map(testify, witnesses))

    assert fresh(big).settlement == "paid"
    assert Delivery.objects.count() == Transaction.objects.of(big).count() == 1
    assert story(big).count("paid") == story(big).count("verified") == 1


def test_history_agreeing_pays(big, call_back, provider):
    call_back(big)

    ingestion.reconcile_history(provider, big.attempt, [report(big, 1, DUE, 2)], by="reconcile")

    assert fresh(big).settlement == "paid"


def test_reconciliation_looks_at_what_nobody_else_has_confirmed(big, call_back, make_invoice):
    small = make_invoice()
    call_back(big)
    call_back(small, number=2)

    assert not fresh(big).attempt.agrees_with(DUE)
    assert fresh(small).attempt.agrees_with(small.attempt.due)


@pytest.mark.parametrize("status", [0, 1])
def test_a_witness_of_too_little_confirmation_is_none(big, call_back, provider, status):
    call_back(big)

    ingestion.record_report(provider, report(big, 1, DUE, status), by="watcher")

    assert fresh(big).settlement == "confirming"


def test_what_a_policy_calls_enough_is_what_must_be_verified(
    settings, big, call_back, network, work
):
    settings.CONFIRMATION_POLICY = "0-: 1"
    network[txid(1)] = detail((big.attempt.reference, DUE), status="Partially Confirmed")
    call_back(big, status=1)

    work()

    assert fresh(big).settlement == "paid"


def test_each_of_several_payments_is_verified(big, call_back, network, work):
    parts = 7
    for number in range(parts):
        value = DUE // parts + DUE % parts * (number == 0)
        network[txid(number)] = detail((big.attempt.reference, value))
        call_back(big, number=number, value=value)

    work(2)

    assert fresh(big).settlement == "paid"
    assert story(big).count("verified") == parts


# Forged callbacks


@pytest.mark.parametrize(
    ("forgery", "words"),
    [
        (None, "knows nothing of"),
        (detail((address(7_000), DUE)), "knows nothing of"),
        ("another amount", "different amounts"),
        ("unconfirmed", "calls unconfirmed"),
        ("partially confirmed", "calls partially confirmed"),
    ],
    ids=["no such transaction", "another address", "another amount", "status 0", "status 1"],
)
def test_a_forged_callback_delivers_nothing_and_calls_for_a_person(
    big, call_back, network, work, forgery, words
):
    if forgery == "another amount":
        forgery = detail((big.attempt.reference, DUE - 1))
    elif isinstance(forgery, str):
        forgery = detail((big.attempt.reference, DUE), status=forgery)
    if forgery:
        network[txid(1)] = forgery
    call_back(big)

    work(3)

    judged = fresh(big)
    assert judged.settlement != "paid"
    assert not Delivery.objects.exists()
    assert words in judged.review
    assert story(judged).count("review") == 1
    alarms = [message for message in mail.outbox if message.to == ["merchant@example.com"]]
    assert [message.subject for message in alarms] == [f"Order {big.order} needs you"]
    assert judged.review in alarms[0].body


def test_a_network_that_is_a_little_slow_alarms_nobody(big, call_back, network, work):
    call_back(big)
    work(2)
    network[txid(1)] = detail((big.attempt.reference, DUE))

    work(2)

    assert fresh(big).settlement == "paid"
    assert not fresh(big).review


def test_a_review_does_not_end_the_asking(big, call_back, network, work):
    call_back(big)
    work(3)
    assert fresh(big).review
    network[txid(1)] = detail((big.attempt.reference, DUE))

    work(2)

    assert fresh(big).settlement == "paid"
    assert "knows nothing of" in fresh(big).review


def test_what_was_verified_in_the_meantime_is_not_doubted(big, call_back, provider):
    call_back(big)
    payment = Transaction.objects.of(big).get()
    ingestion.record_report(provider, report(big, 1, DUE, 2), by="watcher")

    ingestion.flag_unverified(big, payment)

    assert not fresh(big).review


@pytest.mark.parametrize("enough", [1, 2])
def test_a_callback_cannot_blow_up_a_payment_that_was_verified(
    settings, big, call_back, provider, enough
):
    """A shopper who knows the secret pays a little, and reports the same transaction as much."""
    settings.CONFIRMATION_POLICY = f"0-: {enough}"
    witnessed = report(big, 1, 1_000, enough - 1)
    ingestion.record_report(provider, witnessed, by="watcher")

    call_back(big, status=2)
    ingestion.record_report(provider, report(big, 1, 1_000, 2), by="watcher")

    judged = fresh(big)
    assert judged.settlement == "underpaid"
    assert judged.attempt.tally.received == 1_000
    assert "different amounts" in judged.review


def test_a_witness_corrects_the_amount_even_before_it_is_confirmed(big, call_back, provider):
    call_back(big, status=2)

    ingestion.record_report(provider, report(big, 1, 1_000, 0), by="watcher")

    assert fresh(big).settlement == "underpaid"


def test_amounts_reported_differently_ask_for_review_whatever_the_total(make_invoice, call_back):
    invoice = make_invoice()
    call_back(invoice, status=0, value=9_000)

    call_back(invoice, status=1, value=9_001)

    assert fresh(invoice).review == f"{txid(1)} was reported with different amounts"
    assert story(invoice).count("review") == 1


# Trouble upstream


@pytest.mark.parametrize(
    "fault",
    [
        requests.ConnectTimeout(),
        requests.ReadTimeout(),
        requests.ConnectionError(),
        (500, ""),
        (502, "<html>"),
        (429, "slow down"),
        (401, '{"error": "Unauthorized"}'),
        (302, ""),
        (200, ""),
        (200, "garbage"),
        (200, "{}"),
        (200, "[]"),
        (200, "null"),
        (200, '{"status": "Confirmed", "vout": null}'),
        (200, '{"status": "Confirmed", "vout": [7]}'),
        (200, '{"status": "Confirmed", "vout": [{"address": "ADDRESS", "value": "much"}]}'),
        (200, '{"status": "Confirmed", "vout": [{"address": "ADDRESS", "value": 1e999999}]}'),
        (200, '{"status": "Perhaps", "vout": [{"address": "ADDRESS", "value": 500000}]}'),
        (200, "x" * 200_000),
    ],
    ids=lambda fault: str(fault)[:60] or type(fault).__name__,
)
def test_trouble_upstream_is_no_verdict_and_is_tried_again(big, call_back, network, work, fault):
    if isinstance(fault, tuple):
        fault = (fault[0], fault[1].replace("ADDRESS", big.attempt.reference))
    network[txid(1)] = fault
    call_back(big)
    work(4)
    task = DBTaskResult.objects.get(task_path=VERIFY)
    assert (task.status, len(task.worker_ids)) == ("READY", 4)
    assert fresh(big).settlement == "confirming"
    assert not fresh(big).review
    network[txid(1)] = detail((big.attempt.reference, DUE))

    work(2)

    assert fresh(big).settlement == "paid"


def test_who_never_gets_an_answer_leaves_it_to_a_person(big, call_back, network, work, desk):
    network[txid(1)] = (500, "")
    call_back(big)

    work(8)

    task = DBTaskResult.objects.get(task_path=VERIFY)
    assert task.status == "FAILED"
    assert "nobody but a callback confirms the payment" in fresh(big).review
    assert "500" in desk("/admin/django_tasks_database/dbtaskresult/", status="FAILED")


def test_a_payment_that_is_gone_ends_the_asking(big, call_back, provider, work, time_machine):
    call_back(big)
    ingestion.reconcile_history(provider, big.attempt, [], by="reconcile")
    time_machine.shift(timedelta(hours=2))
    ingestion.reconcile_history(provider, big.attempt, [], by="reconcile")

    work()

    assert DBTaskResult.objects.get(task_path=VERIFY).status == "SUCCESSFUL"
    assert fresh(big).settlement == "waiting"


# What people read


@pytest.fixture
def page(client):
    def read(invoice):
        return unescape(client.get(invoice.get_absolute_url()).content.decode())

    return read


@pytest.fixture
def desk(admin_client):
    return lambda path, **query: admin_client.get(path, query).content.decode()


def test_the_page_says_that_larger_sums_are_checked(big, call_back, page):
    before = presentation.revision(fresh(big), big.attempt.quoted_at)
    call_back(big)

    words = page(big)

    assert "With larger sums we ask the network once more" in words
    assert "Download" not in words
    assert presentation.revision(fresh(big), big.attempt.quoted_at) != before


def test_the_page_says_that_a_person_looks_at_it(big, call_back, work, page, network):
    call_back(big)
    waiting = presentation.revision(fresh(big), big.attempt.quoted_at)
    work(3)

    words = page(big)

    assert "A person in the shop is looking at this payment" in words
    assert "knows nothing of" not in words
    assert presentation.revision(fresh(big), big.attempt.quoted_at) != waiting


def test_the_desk_says_why_and_who_confirmed(big, call_back, work, desk, network):
    call_back(big)
    work(3)

    words = desk(f"/admin/payments/invoice/{big.pk}/change/")

    assert unescape(fresh(big).review) in unescape(words)
    assert "Needs review" in words
    payment = re.search(rf"<td>{txid(1)}</td>.*?</tr>", words, re.DOTALL)[0]
    assert "<td>2, final</td>" in payment  # so say callbacks
    assert "<td>–</td>" in payment  # and nobody else


# The review is closed by a person


@pytest.fixture
def review(client):
    """A clerk with these permissions marks the invoices as reviewed; answers the page."""

    def review(*invoices, permissions=("view_invoice", "change_invoice")):
        clerk, is_new = User.objects.get_or_create(username="clerk", is_staff=True)
        clerk.user_permissions.set(Permission.objects.filter(codename__in=permissions))
        client.force_login(clerk)
        form = {"action": "mark_as_reviewed", "_selected_action": [one.pk for one in invoices]}
        return client.post("/admin/payments/invoice/", form, follow=True)

    return review


@pytest.fixture
def doubtful(make_invoice, call_back):
    invoice = make_invoice()
    call_back(invoice, status=0, value=9_000)
    call_back(invoice, status=1, value=9_001)
    return fresh(invoice)


def test_a_review_is_closed_at_the_desk_and_leaves_a_line(doubtful, review):
    review(doubtful)

    assert not fresh(doubtful).review
    line = doubtful.timeline.last()
    assert (line.kind, line.by) == ("staff-action", "merchant clerk")
    assert line.note == f"reviewed: {doubtful.review}"


def test_a_review_is_closed_once(doubtful, review):
    review(doubtful)
    review(doubtful)

    assert story(doubtful).count("staff-action") == 1


def test_who_may_only_look_closes_no_review(doubtful, review):
    answer = review(doubtful, permissions=["view_invoice"])

    assert fresh(doubtful).review
    assert "Mark as reviewed" not in answer.content.decode()
    assert not Event.objects.filter(kind="staff-action").exists()


def test_a_reason_that_turned_up_since_the_merchant_looked_stays(doubtful):
    reviews.flag_for_review(doubtful, "something else", by="worker")

    reviews.mark_as_reviewed(doubtful, by="merchant clerk")

    assert fresh(doubtful).review == f"{doubtful.review}; something else"


def test_the_desk_lists_what_needs_a_person(doubtful, make_invoice, desk):
    other = make_invoice()

    listed = desk("/admin/payments/invoice/", review="needed")

    assert doubtful.order in listed
    assert other.order not in listed


# The whole, with a worker of its own process


@pytest.mark.hard
@pytest.mark.xdist_group("browser")
def test_a_forger_gets_nothing_where_a_payer_gets_the_goods(tmp_path, monkeypatch):
    monkeypatch.setenv("VERIFY_FROM", "0")
    with Demo(tmp_path) as demo:
        forged, honest = demo.buy("singing-bowl"), demo.buy("singing-bowl")
        asked = demo.status(forged)
        forgery = {
            "secret": SECRET,
            "addr": asked["address"],
            "value": asked["due"],
            "txid": txid(1),
            "status": 2,
        }
        requests.get(f"{demo.url}/payments/callback/blockonomics", forgery, timeout=30)
        asked = demo.status(honest)
        demo.control("pay", address=asked["address"], value=asked["due"])
        demo.control("mine", blocks=2)

        paid = demo.wait_until(honest, settlement="paid")
        page = requests.get(f"{demo.url}{forged}", timeout=30).text

        assert demo.status(forged)["settlement"] == "confirming"
        assert "we ask the network once more" in page
        assert paid["paid_at"]

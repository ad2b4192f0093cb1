"""A refund is done when the network shows it: a made-up transaction closes nothing."""

import re
from datetime import timedelta

import pytest
from django.core.management import call_command
from django_tasks_db.models import DBTaskResult

from payments import refunds
from payments.models import Invoice, Mail
from payments.worker import RETRY_AFTER
from tests.conftest import address, txid

from .network import detail

HOME, OTHER = address(900), address(901)
REFUND, SLIP = txid(0xBEEF), "ab" * 32


@pytest.fixture
def refund(invoice, call_back, time_machine, transactions_known):
    """5,000 satoshis too many were paid, and are asked back."""
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    Invoice.objects.filter(pk=invoice.pk).update(email="buyer@example.com")
    call_back(invoice, value=15_000)
    return refunds.request_refund(invoice, HOME)


@pytest.fixture
def desk(admin_client, refund):
    return lambda: admin_client.get(f"/admin/payments/refund/{refund.pk}/change/").content.decode()


@pytest.fixture
def record(admin_client, refund, desk):
    """The merchant opens the refund and fills in the transaction id; the page after it."""

    def record(transaction_id, page=None):
        shown = re.search(r'name="shown" value="([^"]+)"', page or desk())[1]
        path = f"/admin/payments/refund/{refund.pk}/change/"
        form = {"transaction_id": transaction_id, "shown": shown}
        return admin_client.post(path, form, follow=True).content.decode()

    return record


@pytest.fixture
def work(time_machine):
    def work(after=timedelta()):
        time_machine.shift(after)
        call_command("worker", once=True)

    return work


def told():
    return Mail.objects.filter(kind="refunded").count()


def look(client, refund):
    return client.get(refund.invoice.get_absolute_url()).content.decode()


def test_what_the_network_shows_is_told_to_the_shopper(
    record, refund, work, transactions_known, client
):
    transactions_known[REFUND] = detail((HOME, 5_000))

    page = record(REFUND)
    work()

    assert "does not show it yet" not in page
    assert told() == 1
    assert "does not show it yet" not in look(client, refund)


def test_what_it_does_not_show_is_recorded_and_said_so(record, refund, work, desk, client):
    page = record(SLIP)
    work()

    assert "does not show it yet" in page
    assert "not seen on the network yet" in desk()
    assert told() == 0
    refund.refresh_from_db()
    assert refund.is_sent
    html = look(client, refund)
    assert "Refunded." in html and "The network does not show it yet" in html


def test_it_is_asked_again_and_the_shopper_told_once_it_is_seen(
    record, refund, work, transactions_known, client
):
    record(REFUND)
    work()
    revision = client.get(f"{refund.invoice.get_absolute_url()}status/").json()["revision"]
    transactions_known[REFUND] = detail((OTHER, 1_000), (HOME, 5_000), status="Unconfirmed")

    work(after=timedelta(seconds=10))

    assert told() == 1
    now = client.get(f"{refund.invoice.get_absolute_url()}status/").json()["revision"]
    assert now != revision
    work(after=timedelta(days=1))
    assert told() == 1


def test_what_it_never_shows_a_person_looks_at(record, refund, work):
    record(SLIP)
    for pause in (timedelta(), *RETRY_AFTER):
        work(after=pause)

    assert "does not show the refund" in Invoice.objects.get(pk=refund.invoice_id).review
    assert told() == 0


@pytest.mark.parametrize("outputs", [[(HOME, 4_999)], [(HOME, 4_000), (OTHER, 5_000)]])
def test_a_transaction_that_pays_less_there_is_refused(record, refund, transactions_known, outputs):
    transactions_known[REFUND] = detail(*outputs)

    page = record(REFUND)

    assert "and 0.00005000 BTC go back" in page
    refund.refresh_from_db()
    assert not refund.is_sent


@pytest.mark.parametrize("answer", [(500, ""), (401, "{}"), (200, "garbage")])
def test_where_the_service_is_in_trouble_it_is_recorded_and_asked_later(
    record, refund, work, transactions_known, answer
):
    transactions_known[REFUND] = answer

    record(REFUND)
    work()
    transactions_known[REFUND] = detail((HOME, 6_000))
    work(after=timedelta(seconds=10))

    assert told() == 1


def test_a_slip_can_be_corrected_until_the_right_one_is_seen(
    record, refund, work, transactions_known, desk
):
    record(SLIP)
    transactions_known[REFUND] = detail((HOME, 5_000))

    record(REFUND)
    work()

    refund.refresh_from_db()
    assert (refund.transaction_id, refund.amount) == (REFUND, 5_000)
    assert told() == 1
    assert "corrected the refund" in refund.invoice.timeline.get(kind="staff-action").note
    assert 'name="transaction_id"' not in desk()
    work(after=timedelta(minutes=1))  # the question about the slip is superseded
    states = DBTaskResult.objects.filter(task_path="payments.tasks.verify_refund")
    assert set(states.values_list("status", flat=True)) == {"SUCCESSFUL"}


def test_who_did_not_see_what_was_recorded_corrects_nothing(record, refund, desk):
    page = desk()  # two of the staff have it open
    record(SLIP, page)

    record(REFUND, page)

    refund.refresh_from_db()
    assert refund.transaction_id == SLIP

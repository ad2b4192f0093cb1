"""Many at once, on the real database."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from django.test import Client
from django_tasks_db.models import DBTaskResult

from payments.models import Callback, Delivery, Event, Invoice, Mail, Transaction
from tests.conftest import SECRET, txid

pytestmark = pytest.mark.django_db(transaction=True)

DOOR = "/payments/callback/blockonomics"
THREADS = 20


def at_once(queries, threads=THREADS):
    """Sends the callbacks, each from a thread of its own; returns the status codes."""

    def send(query):
        try:
            return Client().get(DOOR, {"secret": SECRET, **query}).status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(threads) as senders:
        return list(senders.map(send, queries))


def about(invoice, number=1, status=2, value=None):
    return {
        "addr": invoice.attempt.reference,
        "txid": txid(number),
        "status": status,
        "value": invoice.attempt.due if value is None else value,
    }


def test_twenty_identical_final_callbacks_make_one_delivery(invoice):
    codes = at_once([about(invoice)] * THREADS)

    assert codes == [200] * THREADS
    assert Transaction.objects.count() == 1
    assert Delivery.objects.count() == 1
    outcomes = sorted(Callback.objects.values_list("outcome", flat=True))
    assert outcomes == ["known"] * (THREADS - 1) + ["recorded"]


def test_sixty_four_identical_final_callbacks_make_one_of_everything(make_invoice):
    invoice = make_invoice(email="shopper@example.com")

    codes = at_once([about(invoice)] * 64, threads=64)

    assert codes == [200] * 64
    assert Transaction.objects.count() == 1
    assert Delivery.objects.count() == 1
    assert sorted(Mail.objects.values_list("kind", flat=True)) == ["paid", "sold"]
    due = DBTaskResult.objects.filter(task_path="payments.tasks.send_mail")
    assert due.count() == 2
    assert Event.objects.filter(kind=Event.Kind.PAID).count() == 1
    assert Callback.objects.count() == 64


def test_many_parts_at_once_add_up_and_deliver_once(invoice):
    part = invoice.attempt.due // THREADS

    codes = at_once([about(invoice, number, value=part) for number in range(THREADS)])

    assert codes == [200] * THREADS
    invoice = Invoice.objects.get()
    assert invoice.attempt.tally.confirmed == invoice.attempt.due
    assert invoice.settlement == "paid"
    assert Delivery.objects.count() == 1


def test_all_statuses_at_once_end_in_the_last(invoice):
    codes = at_once([about(invoice, status=number % 3) for number in range(THREADS)])

    assert codes == [200] * THREADS
    assert Invoice.objects.get().settlement == "paid"
    assert Transaction.objects.get().is_final
    assert Delivery.objects.count() == 1


def test_one_transaction_for_many_invoices_pays_each_once(make_invoice):
    invoices = [make_invoice() for _ in range(5)]

    codes = at_once([about(invoice) for invoice in invoices * 4])

    assert codes == [200] * THREADS
    assert Invoice.objects.paid().count() == Delivery.objects.count() == 5

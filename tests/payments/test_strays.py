"""Money to an address that no order has is told, shown, and can be given its place."""

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.management import call_command

from payments.models import Callback, Invoice, PaymentAttempt
from tests.conftest import address, txid

INBOX = "/admin/payments/callback/"
LOST = address(777)


@pytest.fixture
def lost(db, call_back):
    """A payment to an address that the books do not know."""
    assert call_back(None, number=5, addr=LOST, value=10_000, status=2).status_code == 200
    return Callback.objects.get()


@pytest.fixture
def act(admin_client):
    def act(action, *callbacks, **form):
        chosen = [callback.pk for callback in callbacks]
        sent = {"action": action, "_selected_action": chosen, **form}
        return admin_client.post(INBOX, sent, follow=True).content.decode()

    return act


def alarms():
    call_command("worker", once=True)
    return [letter for letter in mail.outbox if letter.subject.endswith("needs you")]


def test_the_merchant_is_alarmed_once_for_each_address(lost, call_back):
    call_back(None, number=5, addr=LOST, value=10_000, status=2)
    call_back(None, number=6, addr=LOST, value=1, status=0)
    (letter,) = alarms()

    for fact in (LOST, "10000", txid(5), "/admin/payments/callback/"):
        assert fact in letter.body
    call_back(None, number=7, addr=address(778), value=1, status=0)
    assert len(alarms()) == 2


def test_the_list_shows_address_amount_and_transaction(lost, admin_client):
    page = admin_client.get(INBOX).content.decode()

    for fact in (LOST, "10000", txid(5)):
        assert fact in page.replace(",", "")


def test_a_remark_is_kept_and_found(lost, act, admin_client):
    assert "What you found out" in act("note_down", lost)

    act("note_down", lost, confirmed="yes", remark="from before the fire")

    lost.refresh_from_db()
    assert lost.remark == "from before the fire"
    found = admin_client.get(INBOX, {"q": "before the fire"}).context["cl"].result_list
    assert list(found) == [lost]


def test_it_is_attached_to_an_order_with_a_reason(lost, act, invoice):
    assert "no order has can be attached" in act("attach", lost)

    act("attach", lost, confirmed="yes", order=invoice.order, reason="the shopper sent a picture")

    after = Invoice.objects.with_payments().get(pk=invoice.pk)
    assert after.settlement == "paid"
    assert [row.transaction_id for row in after.transactions] == [txid(5)]
    lost.refresh_from_db()
    assert (lost.outcome, lost.invoice) == ("recorded", after)
    note = after.timeline.get(kind="staff-action")
    assert note.by == "merchant admin"
    assert note.note == f"attached {LOST}: the shopper sent a picture"


def test_what_comes_there_later_is_the_orders_too(lost, act, invoice, call_back):
    act("attach", lost, confirmed="yes", order=invoice.order, reason="it is")

    call_back(None, number=6, addr=LOST, value=2_000, status=2)

    assert Invoice.objects.with_payments().get(pk=invoice.pk).balance.confirmed == 12


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({"order": "ZZZZ-ZZZZ", "reason": "it is"}, "There is no order with this code"),
        ({"order": "", "reason": "it is"}, "This field is required"),
        ({"reason": ""}, "This field is required"),
    ],
)
def test_without_order_or_reason_nothing_is_attached(lost, act, invoice, form, told):
    page = act("attach", lost, confirmed="yes", **{"order": invoice.order, **form})

    assert told in page
    assert PaymentAttempt.objects.count() == 1


def test_an_address_that_an_order_has_cannot_be_attached(invoice, make_invoice, call_back, act):
    call_back(invoice)
    other = make_invoice()

    act("attach", Callback.objects.get(), confirmed="yes", order=other.order, reason="mine")

    assert other.attempts.count() == 1


def test_while_no_price_can_be_had_nothing_is_attached(lost, act, invoice, service):
    service.answers["price"] = (500, "")
    cache.clear()

    page = act("attach", lost, confirmed="yes", order=invoice.order, reason="it is")

    assert "is not attached" in page
    assert invoice.attempts.count() == 1


def test_who_may_only_look_attaches_nothing(lost, clerk, invoice):
    desk = clerk("view_callback", "view_invoice")
    form = {"action": "attach", "_selected_action": [lost.pk], "confirmed": "yes"}

    desk.post(INBOX, form | {"order": invoice.order, "reason": "it is"})

    assert invoice.attempts.count() == 1

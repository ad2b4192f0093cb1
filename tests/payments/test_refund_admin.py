"""The merchant's side of money that goes back: cancelling an order, and paying a refund request."""

import re
from datetime import timedelta

import pytest
from django.core import signing
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from payments import notifications, refunds
from payments.admin.forms import SHOWN
from payments.models import Delivery, Invoice, Mail, PaymentAttempt, Refund, Transaction
from tests.conftest import address, txid

INVOICES, REFUNDS = "/admin/payments/invoice/", "/admin/payments/refund/"
HOME, OTHER = address(900), address(901)
REFUND = txid(0xBEEF)


@pytest.fixture
def refund(invoice, call_back):
    """5,000 satoshis too many were paid, and are asked back."""
    call_back(invoice, value=15_000)
    return refunds.request_refund(invoice, HOME, "to my new wallet, please")


@pytest.fixture
def desk(admin_client):
    """One page of the merchant's desk, as text."""

    def look(path, **query):
        response = admin_client.get(path, query)
        assert response.status_code == 200
        return response.content.decode()

    return look


@pytest.fixture
def record(admin_client, desk):
    """The merchant opens the refund, sends the money, and fills in the transaction id."""

    def record(refund, txid=REFUND, shown=None):
        path = f"{REFUNDS}{refund.pk}/change/"
        return admin_client.post(
            path, {"transaction_id": txid, "shown": shown or figures(desk(path))}
        )

    return record


def figures(page):
    return re.search(r'name="shown" value="([^"]+)"', page)[1]


@pytest.fixture
def cancel(admin_client):
    def cancel(*invoices, **form):
        selected = [invoice.pk for invoice in invoices]
        return admin_client.post(
            INVOICES, {"action": "cancel", "_selected_action": selected, **form}, follow=True
        )

    return cancel


# What the merchant sees


def test_a_refund_request_is_shown_with_all_that_is_needed_to_pay_it(desk, refund):
    page = desk(f"{REFUNDS}{refund.pk}/change/")

    uri = f"bitcoin:{HOME}?amount=0.00005000&amp;label=Himalaya%20Prints%2C%20refund%20for%20"
    for fact in (refund.invoice.order, "0.00005000", HOME, "to my new wallet, please", uri):
        assert fact in page
    assert f"/admin/payments/invoice/{refund.invoice_id}/change/" in page


def test_the_amount_is_shown_as_the_books_have_it_now(desk, refund, call_back):
    call_back(refund.invoice, number=2, value=1_000)

    assert "0.00006000" in desk(f"{REFUNDS}{refund.pk}/change/")


def test_what_is_still_being_confirmed_is_told(desk, refund, call_back):
    call_back(refund.invoice, number=2, value=1_234, status=0)

    page = desk(f"{REFUNDS}{refund.pk}/change/")

    assert "0.00005000" in page and "0.00001234" in page


def test_an_address_of_the_shops_own_is_told(desk, refund, make_invoice):
    other = make_invoice()
    assert "Look out" not in desk(f"{REFUNDS}{refund.pk}/change/")

    refunds.request_refund(refund.invoice, other.attempt.reference)

    page = desk(f"{REFUNDS}{refund.pk}/change/")
    assert "Look out" in page and other.order in page


def test_the_invoice_leads_to_its_refund_request(desk, refund):
    page = desk(f"{INVOICES}{refund.invoice_id}/change/")

    assert f"{REFUNDS}{refund.pk}/change/" in page
    assert "Refund requested" in page


def test_an_invoice_without_a_refund_request_tells_what_may_be_asked(desk, invoice, call_back):
    call_back(invoice, value=12_345)

    assert "0.00002345" in desk(f"{INVOICES}{invoice.pk}/change/")


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("open", {"open"}),
        ("sent", {"refunded"}),
        ("withdrawn", {"withdrawn"}),
        ("", {"open", "refunded", "withdrawn"}),
    ],
)
def test_the_list_is_filtered_by_what_is_to_be_done(
    desk, make_invoice, call_back, record, state, expected
):
    invoices = {}
    for number, name in enumerate(["open", "refunded", "withdrawn"]):
        invoices[name] = make_invoice()
        call_back(invoices[name], number=number, value=15_000)
        made = refunds.request_refund(invoices[name], HOME)
        if name == "refunded":
            record(made)
        if name == "withdrawn":
            refunds.withdraw_request(invoices[name])

    page = desk(REFUNDS, **({"state": state} if state else {}))

    rows = re.search(r'id="result_list".*?</table>', page, re.DOTALL)[0]
    assert {name for name, invoice in invoices.items() if invoice.order in rows} == expected


def test_the_list_asks_the_database_no_more_for_ten_than_for_one(desk, make_invoice, call_back):
    def ask_back(number):
        invoice = make_invoice()
        call_back(invoice, number=number, value=15_000)
        refunds.request_refund(invoice, HOME)

    ask_back(0)
    with CaptureQueriesContext(connection) as for_one:
        desk(REFUNDS)
    for number in range(1, 10):
        ask_back(number)

    with CaptureQueriesContext(connection) as for_ten:
        desk(REFUNDS)

    assert len(for_ten) == len(for_one)


# What the merchant records


def test_a_recorded_payment_is_a_refund(refund, record, client):
    assert record(refund).status_code == 302

    refund.refresh_from_db()
    assert (refund.amount, refund.transaction_id, refund.destination) == (5_000, REFUND, HOME)
    assert (refund.sent_by, refund.sent_at is None) == ("merchant admin", False)
    line = refund.invoice.timeline.last()
    assert (line.kind, line.by) == ("refunded", "merchant admin")
    assert line.note == f"{REFUND}, 0.00005000 BTC to {HOME}"
    assert REFUND in client.get(refund.invoice.get_absolute_url()).content.decode()


def test_a_transaction_id_is_kept_in_small_letters(refund, record):
    record(refund, f" {REFUND.upper()} ")

    refund.refresh_from_db()
    assert refund.transaction_id == REFUND


@pytest.mark.parametrize("given", ["", "done", REFUND[:-1], REFUND + "0", "g" * 64, "٠" * 64])
def test_what_is_no_transaction_id_is_refused(refund, record, given):
    assert record(refund, given).status_code == 200

    refund.refresh_from_db()
    assert (refund.transaction_id, refund.sent_at) == ("", None)


def test_the_shoppers_own_payment_is_no_refund(refund, record):
    answer = record(refund, txid(1))

    assert "the shopper paid you" in answer.content.decode()
    assert not Refund.objects.sent().exists()


def test_a_refund_is_recorded_once(refund, record, desk):
    shown = figures(desk(f"{REFUNDS}{refund.pk}/change/"))
    record(refund, shown=shown)

    assert record(refund, txid(0xCAFE), shown).status_code == 302  # a second click

    refund.refresh_from_db()
    assert refund.transaction_id == REFUND
    assert refund.invoice.timeline.filter(kind="refunded").count() == 1
    refunds.confirm_sent(refund, REFUND)
    assert 'name="transaction_id"' not in desk(f"{REFUNDS}{refund.pk}/change/")


def test_what_was_shown_is_what_was_sent(refund, record, desk):
    """The shopper corrects the address just after the merchant has sent the money."""
    shown = figures(desk(f"{REFUNDS}{refund.pk}/change/"))
    refunds.request_refund(refund.invoice, OTHER)

    record(refund, shown=shown)

    refund.refresh_from_db()
    assert refund.destination == HOME
    assert "while the refund was sent" in Invoice.objects.get().review


def test_an_amount_is_not_typed(refund, record, desk):
    page = desk(f"{REFUNDS}{refund.pk}/change/")
    assert 'name="amount"' not in page

    for forged in ("", "5000", figures(page)[:-2] + "xx"):
        assert record(refund, shown=forged or "x").status_code == 200

    assert not Refund.objects.sent().exists()


def test_the_figures_of_another_refund_request_are_refused(
    refund, record, desk, make_invoice, call_back
):
    other = make_invoice()
    call_back(other, number=2, value=90_000)
    shown = figures(desk(f"{REFUNDS}{refunds.request_refund(other, OTHER).pk}/change/"))

    assert record(refund, shown=shown).status_code == 200
    assert not Refund.objects.sent().exists()


def test_where_nothing_is_to_be_paid_nothing_is_recorded(refund, desk, admin_client):
    Transaction.objects.of(refund.invoice).update(dropped_at=timezone.now())

    assert 'name="transaction_id"' not in desk(f"{REFUNDS}{refund.pk}/change/")
    admin_client.post(f"{REFUNDS}{refund.pk}/change/", {"transaction_id": REFUND, "shown": "x"})

    assert not Refund.objects.sent().exists()


@pytest.fixture
def half_paid(invoice, call_back):
    """Half came, and it is asked back once the quote is over."""
    call_back(invoice, value=5_000)
    PaymentAttempt.objects.filter(invoice=invoice).update(
        expires_at=timezone.now() - timedelta(hours=1)
    )
    return refunds.request_refund(invoice, HOME)


def fall_due_again(refund, call_back):
    """The shopper withdraws, and pays the rest: nothing has to go back any more."""
    refunds.withdraw_request(refund.invoice)
    call_back(refund.invoice, number=2, value=5_000)
    assert Invoice.objects.get().attempt.refundable == 0


def test_what_was_sent_is_recorded_although_nothing_has_to_go_back_any_more(
    half_paid, record, desk, call_back
):
    shown = figures(desk(f"{REFUNDS}{half_paid.pk}/change/"))
    fall_due_again(half_paid, call_back)

    assert record(half_paid, shown=shown).status_code == 302

    half_paid.refresh_from_db()
    assert (half_paid.amount, half_paid.transaction_id) == (5_000, REFUND)
    assert "while the refund was sent" in Invoice.objects.get().review


def test_what_was_sent_is_recorded_although_the_network_forgot_what_was_paid(refund, record, desk):
    shown = figures(desk(f"{REFUNDS}{refund.pk}/change/"))
    Transaction.objects.of(refund.invoice).update(dropped_at=timezone.now())

    assert record(refund, shown=shown).status_code == 302

    refund.refresh_from_db()
    assert refund.amount == 5_000


def test_a_withdrawn_refund_request_can_still_be_recorded_from_a_new_page(
    half_paid, record, desk, call_back
):
    fall_due_again(half_paid, call_back)

    page = desk(f"{REFUNDS}{half_paid.pk}/change/")
    assert "send nothing" in page and "0.00005000" in page
    assert "I am sending" not in page and "bitcoin:" not in page
    assert record(half_paid).status_code == 302

    half_paid.refresh_from_db()
    assert half_paid.amount == 5_000


@pytest.mark.parametrize("amount", [0, -1])
def test_a_refund_of_nothing_is_refused(refund, record, amount):
    shown = signing.dumps([refund.pk, HOME, amount], salt=SHOWN)

    assert record(refund, shown=shown).status_code == 200

    assert not Refund.objects.sent().exists()


def test_after_a_typing_error_the_merchant_says_which_figures_they_were(refund, record, desk):
    shown = figures(desk(f"{REFUNDS}{refund.pk}/change/"))
    refunds.request_refund(refund.invoice, OTHER)

    page = record(refund, "mistyped", shown).content.decode()

    choices = re.findall(r'<label[^>]*>\s*<input type="radio" name="shown" value="([^"]+)"', page)
    assert "has changed meanwhile" in page
    assert f"0.00005000 BTC to {HOME}, as this page said before" in page
    assert f"0.00005000 BTC to {OTHER}, as it says now" in page
    assert len(choices) == 2 and choices[0] == shown
    record(refund, shown=choices[1])
    refund.refresh_from_db()
    assert (refund.destination, refund.transaction_id) == (OTHER, REFUND)
    assert Invoice.objects.get().review == ""


def test_after_a_typing_error_alone_nothing_is_asked(refund, record):
    page = record(refund, "mistyped").content.decode()

    assert 'type="radio"' not in page and "has changed" not in page


def test_an_address_of_the_shops_own_is_looked_up_by_its_index(desk, refund):
    with CaptureQueriesContext(connection) as asked:
        desk(f"{REFUNDS}{refund.pk}/change/")

    by_address = [query["sql"] for query in asked if '"reference" = ' in query["sql"]]
    assert len(by_address) == 1
    assert '"asset_code" = ' in by_address[0]


# What the merchant says before sending


@pytest.fixture
def step(admin_client, desk):
    """The merchant presses the button beside the advice; what the desk says then."""

    def press(refund, shown=None):
        path = f"{REFUNDS}{refund.pk}/change/"
        page = desk(path)
        form = {
            "step": re.search(r'name="step" value="([^"]+)"', page)[1],
            "shown": shown or figures(page),
        }
        return admin_client.post(path, form, follow=True).content.decode()

    return press


def test_the_desk_asks_to_be_told_before_the_money_is_sent(desk, refund, step):
    page = desk(f"{REFUNDS}{refund.pk}/change/")
    assert "Press this before you send" in page and "I am sending this now" in page

    page = step(refund)

    refund.refresh_from_db()
    assert refund.is_being_sent
    assert "Now send exactly what this page says" in page
    assert "Being sent" in page and "I am sending this now" not in page
    assert "Being sent" in desk(REFUNDS)
    line = refund.invoice.timeline.last()
    assert (line.kind, line.by) == ("refund-sending", "merchant admin")


def test_what_is_being_sent_is_recorded(refund, step, record):
    step(refund)

    assert record(refund).status_code == 302

    refund.refresh_from_db()
    assert (refund.amount, refund.transaction_id, refund.is_being_sent) == (5_000, REFUND, False)
    assert Invoice.objects.get().review == ""


def test_what_was_not_sent_after_all_is_free_again(refund, step):
    step(refund)

    assert "I am sending this now" in step(refund)

    refund.refresh_from_db()
    assert refund.sending_at is None


def test_who_looked_too_early_looks_again_before_sending(desk, refund, step):
    shown = figures(desk(f"{REFUNDS}{refund.pk}/change/"))
    refunds.request_refund(refund.invoice, OTHER)

    for old in (shown, "x"):
        assert "Send nothing before you have looked again" in step(refund, old)

    refund.refresh_from_db()
    assert not refund.is_being_sent


def test_a_second_merchant_hears_that_it_is_being_sent(desk, refund, step, admin_client):
    path = f"{REFUNDS}{refund.pk}/change/"
    shown = figures(desk(path))
    step(refund)

    page = admin_client.post(path, {"step": "send", "shown": shown}, follow=True)

    assert "Somebody is sending this already" in page.content.decode()


@pytest.mark.parametrize("name", ["send", "keep-back"])
def test_who_may_only_look_takes_no_step(refund, clerk, name):
    clerk = clerk("view_refund")
    path = f"{REFUNDS}{refund.pk}/change/"

    assert 'name="step"' not in clerk.get(path).content.decode()
    assert clerk.post(path, {"step": name, "shown": "x"}).status_code == 403


def test_no_step_is_taken_for_a_refund_request_that_there_is_not(admin_client):
    assert admin_client.post(f"{REFUNDS}999/change/", {"step": "send"}).status_code == 404


# What is not done here


def test_a_refund_request_is_neither_made_nor_deleted_here(refund, admin_client):
    assert admin_client.get(f"{REFUNDS}add/").status_code == 403
    assert admin_client.post(f"{REFUNDS}{refund.pk}/delete/", {"post": "yes"}).status_code == 403
    assert Refund.objects.exists()


def test_who_may_only_look_records_nothing(refund, clerk):
    clerk = clerk("view_refund")
    path = f"{REFUNDS}{refund.pk}/change/"

    assert 'name="transaction_id"' not in clerk.get(path).content.decode()
    assert clerk.post(path, {"transaction_id": REFUND, "shown": "x"}).status_code == 403


# Cancelling


def test_an_order_is_cancelled_with_a_reason(cancel, invoice):
    asked = cancel(invoice).content.decode()
    assert invoice.order in asked and 'name="reason"' in asked
    assert Invoice.objects.get().cancelled_at is None

    done = cancel(invoice, confirmed="yes", reason="the last one broke").content.decode()

    assert f"Order {invoice.order} is cancelled" in done
    line = Invoice.objects.get().timeline.last()
    assert Invoice.objects.get().settlement == "cancelled"
    assert "the last one broke" in [each.note for each in Invoice.objects.get().timeline.all()]
    assert line.by == "merchant admin"


def test_a_reason_is_needed(cancel, invoice):
    cancel(invoice, confirmed="yes", reason=" ")

    assert Invoice.objects.get().cancelled_at is None


def test_what_was_paid_meanwhile_is_not_cancelled(cancel, make_invoice, call_back):
    paid, unpaid = make_invoice(), make_invoice()
    call_back(paid)

    told = cancel(paid, unpaid, confirmed="yes", reason="sold out").content.decode()

    assert f"Order {paid.order} is paid, so it cannot be cancelled" in told
    assert Delivery.objects.get().invoice == paid
    assert set(Invoice.objects.values_list("settlement", flat=True)) == {"paid", "cancelled"}


def test_who_may_only_look_cancels_nothing(clerk, invoice):
    clerk = clerk("view_invoice")

    assert "Cancel, so that" not in clerk.get(INVOICES).content.decode()
    form = {"action": "cancel", "_selected_action": invoice.pk, "confirmed": "yes", "reason": "x"}
    clerk.post(INVOICES, form)

    assert Invoice.objects.get().cancelled_at is None


def test_cancelled_orders_are_found_by_their_settlement(desk, make_invoice):
    kept, gone = make_invoice(), make_invoice(expires_at=timezone.now() - timedelta(hours=1))
    refunds.cancel(gone, "merchant clerk", "sold out")

    page = desk(INVOICES, settlement="cancelled")

    assert gone.order in page and kept.order not in page
    assert kept.order in desk(INVOICES, settlement="waiting")


def test_the_merchants_mail_leads_to_the_order(refund, settings):
    message = notifications.message(Mail.objects.get(kind=Mail.Kind.REFUND_REQUESTED))

    assert f"{settings.SITE_URL}/admin/payments/invoice/{refund.invoice_id}/change/" in message.body
    assert refund.invoice.key not in message.body

"""A shopper asks for money back: what may be asked for, where it may go, and what it changes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
import time_machine
from django.core import mail
from django.core.management import call_command
from django.db import IntegrityError, connection, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from payments import ingestion, notifications, presentation, quoting, refunds
from payments.models import Delivery, Event, Invoice, Mail, PaymentAttempt, Refund, Transaction
from payments.refunds import AlreadyRefunded, BeingSent, NothingToRefund, RefundChanged, ShownRefund
from tests.conftest import address, invoice_of, report, txid

DUST = 546
HOME, OTHER = address(900), address(901)
REFUND = txid(0xBEEF)


def fresh(invoice):
    return Invoice.objects.complete().get(pk=invoice.pk)


@pytest.fixture
def overpaid(invoice, call_back):
    call_back(invoice, value=15_000)
    return fresh(invoice)


@pytest.fixture
def too_late(invoice, call_back):
    """Half came, and then the quote ran out."""
    call_back(invoice, value=5_000)
    PaymentAttempt.objects.filter(invoice=invoice).update(
        expires_at=timezone.now() - timedelta(hours=1)
    )
    return fresh(invoice)


@pytest.fixture
def cancelled(invoice, call_back):
    call_back(invoice, value=5_000)
    refunds.cancel(invoice, "merchant clerk", "the last one broke")
    return fresh(invoice)


@pytest.fixture
def ask(client):
    """What the shopper sends from the form; the answer."""

    def ask(invoice, to=HOME, note="", **more):
        path = f"/payments/invoice/{invoice.key}/refund/"
        return client.post(path, {"address": to, "note": note, **more})

    return ask


@pytest.fixture
def look(client):
    def look(invoice, door=""):
        return client.get(f"/payments/invoice/{invoice.key}/{door}").content.decode()

    return look


def send_back(invoice, amount=None, to=HOME):
    """The merchant sends it and says so."""
    asked = Refund.objects.get(invoice=invoice)
    shown = ShownRefund(to, asked.current_amount if amount is None else amount)
    refunds.record_sent(asked, REFUND, shown, by="merchant clerk")


def story(invoice):
    return [line.kind for line in invoice.timeline.all()]


# What may be asked for


def test_of_an_overpaid_invoice_it_is_what_was_too_much(overpaid):
    assert overpaid.attempt.refundable == 5_000


def test_of_a_late_and_never_covered_invoice_it_is_everything(too_late):
    assert too_late.attempt.refundable == 5_000


def test_of_a_cancelled_invoice_it_is_everything(cancelled):
    assert cancelled.attempt.refundable == 5_000


def test_while_the_quote_stands_the_rest_may_still_come(invoice, call_back):
    call_back(invoice, value=5_000)

    assert fresh(invoice).attempt.refundable == 0


@pytest.mark.parametrize("status", [0, 1])
def test_what_is_not_confirmed_is_not_sent_back(invoice, call_back, status):
    call_back(invoice, number=1, value=5_000)
    call_back(invoice, number=2, value=2_000, status=status)
    refunds.cancel(invoice, "merchant clerk")

    assert fresh(invoice).attempt.refundable == 5_000


def test_what_the_network_forgot_is_not_sent_back(cancelled):
    Transaction.objects.of(cancelled).update(dropped_at=timezone.now())

    assert fresh(cancelled).attempt.refundable == 0


def test_a_large_sum_that_only_callbacks_know_of_is_not_sent_back(make_invoice, call_back):
    invoice = make_invoice(price="600.00")
    call_back(invoice)
    refunds.cancel(invoice, "merchant clerk")

    assert fresh(invoice).attempt.refundable == 0


def test_nothing_is_asked_for_while_the_worth_of_a_payment_is_not_known(too_late):
    Transaction.objects.of(too_late).update(rate=None)

    assert fresh(too_late).attempt.refundable == 0


@pytest.mark.parametrize(("too_much", "refundable"), [(DUST - 1, 0), (DUST, DUST)])
def test_less_than_wallets_send_is_nothing(invoice, call_back, too_much, refundable):
    call_back(invoice, value=10_000 + too_much)

    assert fresh(invoice).attempt.refundable == refundable


def books(data_rows, total, state, refunded=None):
    """An invoice of these facts, nothing of it in the database."""
    now = timezone.now()
    fields = {
        "paid": {"paid_at": now, "settlement": "paid"},
        "cancelled": {"cancelled_at": now, "settlement": "cancelled"},
        "over": {"expires_at": now - timedelta(hours=1)},
        "open": {},
    }[state]
    fields = {"expires_at": now + timedelta(hours=1), **fields}
    sent = [Refund(state="sent", amount=refunded)] if refunded else []
    rows = [
        (amount, status, {"rate": rate, "dropped_at": now if dropped else None})
        for amount, status, rate, dropped in data_rows
    ]
    return invoice_of(rows, total, sent, **fields)


payments = st.lists(
    st.tuples(
        st.integers(0, 10**12),
        st.sampled_from([0, 1, 2]),
        st.none() | st.decimals("0.01", "9999999", places=2),
        st.booleans(),
    ),
    max_size=6,
)
totals = st.decimals("0.01", "100", places=2)
states = st.sampled_from(["paid", "cancelled", "over", "open"])


@given(payments, totals, states, st.none() | st.integers(1, 10**12))
def test_never_more_is_refundable_than_is_confirmed_and_not_yet_sent_back(
    rows, total, state, sent_back
):
    invoice = books(rows, total, state, sent_back)
    confirmed = sum(amount for amount, status, _, dropped in rows if status == 2 and not dropped)

    refundable = invoice.attempt.refundable

    assert refundable == 0 or DUST <= refundable <= confirmed - (sent_back or 0)
    assert type(refundable) is int


@given(payments, totals, states)
def test_nothing_is_refundable_twice(rows, total, state):
    invoice = books(rows, total, state)
    first = invoice.attempt.refundable

    assert books(rows, total, state, first or 1).attempt.refundable == 0


@given(payments, totals)
def test_of_an_open_invoice_nothing_is_refundable(rows, total):
    assert books(rows, total, "open").attempt.refundable == 0


# Where it may go


def test_the_shopper_leaves_an_address_and_a_note(overpaid, ask, look):
    answer = ask(overpaid, HOME, "Thank you!")

    asked = Refund.objects.get()
    assert (answer.status_code, answer["Location"]) == (302, overpaid.get_absolute_url())
    assert (asked.invoice, asked.destination, asked.note) == (overpaid, HOME, "Thank you!")
    assert asked.amount is None
    assert HOME in look(overpaid)
    assert "You asked for 0.00005000 BTC back" in look(overpaid)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (HOME.upper(), HOME),
        (f"  {HOME}\n", HOME),
        (f"bitcoin:{HOME}?amount=0.1&label=x", HOME),
        (f"BITCOIN:{HOME.upper()}", HOME),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", "mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn"),
        ("2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc", "2MzQwSSnBHWHqSAqtTVQ6v47XtaisrJa1Vc"),
    ],
)
def test_an_address_is_taken_as_wallets_copy_it(overpaid, ask, given, kept):
    assert ask(overpaid, given).status_code == 302
    assert Refund.objects.get().destination == kept


@pytest.mark.parametrize(
    "given",
    [
        "",
        "my wallet",
        HOME[:-1] + ("q" if HOME[-1] != "q" else "p"),  # one letter wrong
        HOME[:8].upper() + HOME[8:],
        "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",  # the main network's
        "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",
        "04" + "ab" * 64,  # a public key
        "02" + "ab" * 32,
        "lntb1500n1pwxyz",
        "tb1zw508d6qejxtdg4y5r3zarvaryvaxxpcs",  # a version that anybody could spend
        "javascript:alert(1)",
        "x" * 10_000,
    ],
)
def test_what_is_no_address_of_this_network_is_refused(overpaid, ask, given):
    answer = ask(overpaid, given)

    assert answer.status_code == 400
    assert not Refund.objects.exists()
    assert 'aria-invalid="true"' in answer.content.decode()


def test_the_invoices_own_address_is_refused(overpaid, ask):
    answer = ask(overpaid, overpaid.attempt.reference.upper())

    assert answer.status_code == 400
    assert "own address" in answer.content.decode()
    assert not Refund.objects.exists()


def test_a_note_ends_somewhere(overpaid, ask):
    assert ask(overpaid, note="x" * 501).status_code == 400
    assert ask(overpaid, note="x" * 500).status_code == 302


def test_a_note_is_words_and_no_code(overpaid, ask, look):
    ask(overpaid, note="<script>alert(1)</script>")

    assert "<script>alert" not in look(overpaid) + look(overpaid, "refund/")


@pytest.mark.parametrize("kind", ["invoice", "paid"])
def test_where_nothing_is_to_be_sent_back_there_is_no_form(invoice, ask, look, call_back, kind):
    if kind == "paid":
        call_back(invoice)

    assert ask(invoice).status_code == 409
    assert "nothing to send back" in look(invoice, "refund/")
    assert not Refund.objects.exists()


def test_a_browser_that_names_no_origin_may_ask(overpaid):
    """What a page without a referrer makes of a form."""
    strict = Client(enforce_csrf_checks=True, headers={"origin": "null"})

    answer = strict.post(f"/payments/invoice/{overpaid.key}/refund/", {"address": HOME})

    assert answer.status_code == 302


def test_the_page_is_kept_from_search_engines_caches_and_other_pages(client, overpaid):
    for door in ("refund/", "receipt/"):
        page = client.get(f"/payments/invoice/{overpaid.key}/{door}")
        assert page["Referrer-Policy"] == "no-referrer"
        assert page["X-Robots-Tag"] == "noindex"
        assert "no-store" in page["Cache-Control"]


def test_unknown_keys_are_not_found(client, db):
    path = f"/payments/invoice/{'x' * 32}/refund/"

    assert client.get(path).status_code == client.post(path, {"address": HOME}).status_code == 404


def test_the_door_asks_the_database_little(client, overpaid, django_assert_max_num_queries):
    with django_assert_max_num_queries(8):
        client.get(f"/payments/invoice/{overpaid.key}/refund/")


# Corrected, and taken back


def test_until_it_is_paid_it_may_be_corrected(overpaid, ask):
    ask(overpaid, HOME)
    ask(overpaid, OTHER, "the first was wrong")

    asked = Refund.objects.get()
    assert (asked.destination, asked.note) == (OTHER, "the first was wrong")
    notes = [line.note for line in overpaid.timeline.filter(kind=Event.Kind.REFUND_REQUESTED)]
    assert notes == [f"0.00005000 BTC to {HOME}", f"0.00005000 BTC to {OTHER}"]


def test_saying_it_twice_changes_nothing(overpaid, ask):
    ask(overpaid)
    before = story(overpaid)

    ask(overpaid)

    assert story(overpaid) == before
    assert Mail.objects.filter(kind=Mail.Kind.REFUND_REQUESTED).count() == 1


def test_once_it_is_paid_it_stays(overpaid, ask):
    ask(overpaid, HOME)
    send_back(overpaid)

    assert ask(overpaid, OTHER).status_code == 409
    assert ask(overpaid, withdraw="yes").status_code == 409
    assert Refund.objects.get().destination == HOME


def test_it_may_be_taken_back_and_asked_again(overpaid, ask, look):
    ask(overpaid)
    ask(overpaid, withdraw="yes")
    assert "more than was asked for" in look(overpaid)

    ask(overpaid, OTHER)

    asked = Refund.objects.get()
    assert (asked.destination, asked.is_open) == (OTHER, True)


def test_open_pages_hear_of_each_change(overpaid, ask):
    told = [presentation.revision(fresh(overpaid), timezone.now())]
    for change in (
        lambda: ask(overpaid, HOME),
        lambda: ask(overpaid, OTHER),
        lambda: send_back(overpaid, to=OTHER),
    ):
        change()
        told.append(presentation.revision(fresh(overpaid), timezone.now()))

    assert len(set(told)) == 4


# An order that was never covered


def test_who_asks_for_the_money_back_calls_the_order_off(too_late, ask, provider):
    ask(too_late)

    invoice = fresh(too_late)
    assert invoice.settlement == invoice.settlement_at(timezone.now()) == "cancelled"
    assert not quoting.may_requote(invoice, timezone.now())
    assert not quoting.requote(invoice, provider)
    assert invoice.attempt.outstanding == 0
    assert story(invoice)[-2:] == ["refund-requested", "cancelled"]


def test_money_that_comes_after_it_wants_a_person_and_buys_nothing(too_late, ask, call_back):
    ask(too_late)

    call_back(too_late, number=2, value=50_000)

    invoice = fresh(too_late)
    assert "after the order was cancelled" in invoice.review
    assert invoice.attempt.refundable == 55_000
    assert not invoice.paid_at
    assert not Delivery.objects.exists()


def test_who_takes_it_back_takes_the_order_up_again(too_late, ask, call_back):
    ask(too_late)
    ask(too_late, withdraw="yes")
    assert fresh(too_late).settlement == "underpaid"

    call_back(too_late, number=2, value=5_000)

    assert fresh(too_late).settlement == "paid"


def test_what_the_merchant_cancelled_the_shopper_cannot_take_up_again(cancelled, ask):
    ask(cancelled)
    ask(cancelled, withdraw="yes")

    assert fresh(cancelled).settlement == "cancelled"


def test_what_the_merchant_cancels_as_well_stays_cancelled(too_late, ask):
    ask(too_late)
    refunds.cancel(too_late, "merchant clerk", "not to be had any more")
    ask(too_late, withdraw="yes")

    assert fresh(too_late).settlement == "cancelled"


def test_money_that_was_sent_back_pays_for_nothing(too_late, ask, call_back):
    ask(too_late)
    send_back(too_late)

    call_back(too_late, number=2, value=5_000)

    invoice = fresh(too_late)
    assert invoice.settlement == "cancelled"
    assert "after the refund" in invoice.review
    assert invoice.attempt.refundable == 5_000
    assert not Delivery.objects.exists()


def test_money_that_is_confirmed_only_after_the_refund_wants_a_person(invoice, call_back, ask):
    call_back(invoice, number=1, value=5_000)
    call_back(invoice, number=2, value=2_000, status=0)
    refunds.cancel(invoice, "merchant clerk")
    ask(invoice)
    send_back(invoice)
    assert fresh(invoice).review == ""

    call_back(invoice, number=2, value=2_000, status=2)

    assert "after the refund" in fresh(invoice).review


def test_who_takes_it_back_while_it_is_being_sent_gains_nothing(too_late, ask):
    """The shopper sees the refund on the network before the merchant has recorded it."""
    ask(too_late)
    ask(too_late, withdraw="yes")
    send_back(too_late, amount=5_000)

    invoice = fresh(too_late)
    assert invoice.settlement == "cancelled"
    assert invoice.attempt.refundable == 0
    assert "while the refund was sent" in invoice.review


def test_a_refund_of_an_order_that_was_paid_meanwhile_wants_a_person(too_late, ask, call_back):
    ask(too_late)
    ask(too_late, withdraw="yes")
    call_back(too_late, number=2, value=5_000)

    send_back(too_late, amount=5_000)

    invoice = fresh(too_late)
    assert (invoice.settlement, invoice.attempt.refunded) == ("paid", 5_000)
    assert "while the refund was sent" in invoice.review


# While the merchant sends it


def send(invoice, amount=5_000, to=HOME):
    asked = Refund.objects.get(invoice=invoice)
    refunds.begin_sending(asked, ShownRefund(to, amount), by="merchant clerk")
    return asked


@pytest.mark.parametrize("kind", ["overpaid", "too_late", "cancelled"])
def test_while_it_is_being_sent_it_stays_as_it_is(request, ask, look, kind):
    invoice = request.getfixturevalue(kind)
    ask(invoice)
    send(invoice)

    for answer in (ask(invoice, withdraw="yes"), ask(invoice, OTHER), ask(invoice, HOME)):
        assert answer.status_code == 409
        assert "The shop is sending your money just now" in answer.content.decode()

    asked = Refund.objects.get()
    assert (asked.destination, asked.is_withdrawn) == (HOME, False)
    for page in (look(invoice), look(invoice, "refund/")):
        assert "sending your money just now: 0.00005000 BTC" in page and HOME in page
        assert "withdraw" not in page.lower() and 'name="address"' not in page


def test_goods_are_not_had_for_the_rest_while_the_money_is_on_its_way_back(
    too_late, ask, call_back
):
    """The refund is seen on the network; then it is withdrawn, and the other half paid."""
    ask(too_late)
    send(too_late)
    ask(too_late, withdraw="yes")

    call_back(too_late, number=2, value=5_000)

    assert fresh(too_late).settlement == "cancelled"
    assert not Delivery.objects.exists()


def test_that_it_is_being_sent_is_told(too_late, ask):
    ask(too_late)
    before = presentation.revision(fresh(too_late), timezone.now())
    send(too_late)

    line = too_late.timeline.last()
    assert (line.kind, line.by) == (Event.Kind.REFUND_SENDING, "merchant clerk")
    assert line.note == f"0.00005000 BTC to {HOME}"
    assert presentation.revision(fresh(too_late), timezone.now()) != before


def test_what_was_marked_as_being_sent_is_recorded_in_peace(too_late, ask):
    ask(too_late)
    send(too_late)

    send_back(too_late)

    invoice = fresh(too_late)
    assert (invoice.settlement, invoice.attempt.refunded, invoice.review) == (
        "cancelled",
        5_000,
        "",
    )
    assert not invoice.attempt.refund.is_being_sent


def test_what_was_kept_back_may_be_withdrawn_but_the_order_stays_called_off(too_late, ask, look):
    ask(too_late)
    refunds.stop_sending(send(too_late), by="merchant clerk")
    assert "the order goes on" not in look(too_late, "refund/")

    assert ask(too_late, withdraw="yes").status_code == 302

    invoice = fresh(too_late)
    assert (invoice.settlement, invoice.attempt.refund) == ("cancelled", None)
    assert invoice.attempt.refundable == 5_000
    assert "not sent after all" in invoice.timeline.filter(kind=Event.Kind.STAFF_ACTION).get().note


def test_what_was_kept_back_may_be_corrected(overpaid, ask):
    ask(overpaid)
    refunds.stop_sending(send(overpaid), by="merchant clerk")

    assert ask(overpaid, OTHER).status_code == 302

    assert Refund.objects.get().destination == OTHER


@pytest.mark.parametrize(
    "shown", [ShownRefund(OTHER, 5_000), ShownRefund(HOME, 4_999), ShownRefund(HOME, 0), None]
)
def test_only_what_the_refund_request_says_now_is_marked_as_being_sent(overpaid, ask, shown):
    ask(overpaid)
    asked = Refund.objects.get()

    with pytest.raises(RefundChanged):
        refunds.begin_sending(asked, shown, by="merchant clerk")

    assert Refund.objects.get().sending_at is None


def test_what_was_withdrawn_is_not_sent(overpaid, ask):
    ask(overpaid)
    ask(overpaid, withdraw="yes")

    with pytest.raises(RefundChanged):
        send(overpaid)


@pytest.mark.parametrize("gone", [False, True])
def test_the_sum_that_is_being_sent_stays(overpaid, ask, call_back, gone):
    ask(overpaid)
    send(overpaid)
    call_back(overpaid, number=2, value=1_000)
    if gone:
        Transaction.objects.of(overpaid).update(dropped_at=timezone.now())

    assert fresh(overpaid).attempt.refund.current_amount == 5_000


@pytest.mark.django_db(transaction=True)
def test_the_database_itself_keeps_being_sent_and_withdrawn_apart(overpaid, ask):
    ask(overpaid)
    send(overpaid)

    with pytest.raises(IntegrityError), transaction.atomic():
        Refund.objects.update(withdrawn_at=timezone.now())


# Cancelled


def test_a_cancelled_invoice_never_becomes_paid(invoice, call_back):
    refunds.cancel(invoice, "merchant clerk", "the last one broke")

    call_back(invoice)

    invoice = fresh(invoice)
    assert (invoice.settlement, invoice.paid_at) == ("cancelled", None)
    assert not Delivery.objects.exists()
    assert "after the order was cancelled" in invoice.review
    assert invoice.attempt.refundable == 10_000


def test_what_was_confirming_is_refunded_once_confirmed(invoice, call_back):
    call_back(invoice, status=1)
    refunds.cancel(invoice, "merchant clerk")
    assert fresh(invoice).attempt.refundable == 0

    call_back(invoice, status=2)

    assert fresh(invoice).attempt.refundable == 10_000
    assert fresh(invoice).review == ""  # nothing odd about that


def test_what_is_paid_is_not_cancelled(overpaid):
    assert not refunds.cancel(overpaid, "merchant clerk", "too late")

    assert fresh(overpaid).settlement == "paid"
    assert "cancelled" not in story(overpaid)


@pytest.mark.django_db(transaction=True)
def test_the_database_itself_keeps_paid_and_cancelled_apart(overpaid):
    with pytest.raises(IntegrityError), transaction.atomic():
        Invoice.objects.filter(pk=overpaid.pk).update(cancelled_at=timezone.now())


def test_the_shopper_reads_that_it_is_cancelled(cancelled, look):
    page = look(cancelled)

    assert "This order is cancelled" in page
    assert "0.00005000 BTC" in page
    assert "<svg" not in page
    assert "bitcoin:" not in page


def test_a_cancelled_invoice_is_not_shown_again_for_the_same_basket(client, product, service):
    first = client.post(f"/payments/create/{product.pk}/")["Location"]
    refunds.cancel(Invoice.objects.get(), "merchant clerk")

    assert client.post(f"/payments/create/{product.pk}/")["Location"] != first


# Refunded


@pytest.mark.parametrize("kind", ["overpaid", "too_late", "cancelled"])
def test_the_shopper_sees_what_was_sent_back(request, ask, look, kind):
    invoice = request.getfixturevalue(kind)
    ask(invoice)
    send_back(invoice)

    page = look(invoice)

    assert "Refunded." in page
    assert "0.00005000 BTC" in page and REFUND in page and HOME in page
    assert "Get it back" not in page
    assert fresh(invoice).attempt.refundable == 0


def test_both_are_told(overpaid, ask, settings):
    Invoice.objects.filter(pk=overpaid.pk).update(email="buyer@example.com")
    ask(overpaid, note="to my new wallet")
    send_back(overpaid)
    refunds.confirm_sent(Refund.objects.get(), REFUND)
    Mail.objects.filter(kind__in=["paid", "sold"]).delete()
    kinds = dict(Mail.objects.values_list("kind", "to"))

    for each in Mail.objects.filter(kind="refunded"):
        notifications.send(each)

    assert kinds == {"refund-requested": settings.MERCHANT_EMAIL, "refunded": "buyer@example.com"}
    assert REFUND in mail.outbox[-1].body and HOME in mail.outbox[-1].body
    assert "0.00005000 BTC" in mail.outbox[-1].body


def test_the_merchant_hears_what_is_asked_but_no_address(overpaid, ask):
    """A mail can be forged on its way; the desk cannot."""
    ask(overpaid, note="to my new wallet")

    message = notifications.message(Mail.objects.get(kind=Mail.Kind.REFUND_REQUESTED))

    assert "to my new wallet" in message.body and "0.00005000 BTC" in message.body
    assert HOME not in str(message.message())


def test_a_refund_request_that_was_taken_back_is_not_mailed(overpaid, ask):
    ask(overpaid)
    ask(overpaid, withdraw="yes")

    call_command("worker", "--once")

    assert not [each for each in mail.outbox if "asks for money back" in each.subject]


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "half",
    [
        {"amount": 5_000},
        {"transaction_id": REFUND},
        {"sent_at": timezone.now()},
        {
            "state": "sent",
            "amount": 0,
            "transaction_id": REFUND,
            "sent_at": timezone.now(),
            "sent_by": "clerk",
        },
    ],
)
def test_a_refund_is_recorded_wholly_or_not_at_all(overpaid, ask, half):
    ask(overpaid)

    with pytest.raises(IntegrityError), transaction.atomic():
        Refund.objects.update(**half)


# Many at once


def at_once(*calls):
    """Runs each call in a thread of its own; returns what came of them."""

    def run(call):
        try:
            return call()
        except (AlreadyRefunded, RefundChanged, NothingToRefund) as error:
            return type(error)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(run, calls))


@pytest.mark.django_db(transaction=True)
def test_many_refund_requests_at_once_are_one(overpaid):
    addresses = [address(900 + number) for number in range(10)]

    def send(to):
        path = f"/payments/invoice/{overpaid.key}/refund/"
        return Client().post(path, {"address": to}).status_code

    codes = at_once(*(lambda to=to: send(to) for to in addresses))

    assert codes == [302] * 10
    assert Refund.objects.get().destination in addresses
    assert overpaid.timeline.filter(kind=Event.Kind.REFUND_REQUESTED).count() == 10
    assert Mail.objects.filter(kind=Mail.Kind.REFUND_REQUESTED).count() == 1


@pytest.mark.django_db(transaction=True)
def test_many_records_at_once_are_one_refund(overpaid):
    asked = refunds.request_refund(overpaid, HOME)

    def record(number):
        refunds.record_sent(asked, txid(number), ShownRefund(HOME, 5_000), by=f"clerk {number}")

    came_of_it = at_once(*(lambda number=number: record(number) for number in range(1, 9)))

    assert came_of_it.count(AlreadyRefunded) == 7
    assert overpaid.timeline.filter(kind=Event.Kind.REFUNDED).count() == 1


@pytest.mark.django_db(transaction=True)
def test_a_correction_while_the_merchant_records_is_before_it_or_refused(overpaid):
    asked = refunds.request_refund(overpaid, HOME)

    corrected, _ = at_once(
        lambda: refunds.request_refund(overpaid, OTHER),
        lambda: refunds.record_sent(asked, REFUND, ShownRefund(HOME, 5_000), by="clerk"),
    )

    asked.refresh_from_db()
    assert asked.destination == HOME  # whatever came first: the money has gone there
    assert asked.amount == 5_000
    assert corrected is AlreadyRefunded or "while the refund was sent" in fresh(overpaid).review


@pytest.mark.django_db(transaction=True)
def test_two_merchants_at_once_do_not_both_send(overpaid):
    asked = refunds.request_refund(overpaid, HOME)

    came_of_it = at_once(
        *(
            lambda number=number: refunds.begin_sending(
                asked, ShownRefund(HOME, 5_000), str(number)
            )
            for number in range(4)
        )
    )

    assert sorted(map(str, came_of_it)) == sorted(map(str, [None, *[BeingSent] * 3]))


@pytest.mark.django_db(transaction=True)
def test_withdrawn_and_sent_at_once_is_one_of_them(too_late):
    asked = refunds.request_refund(too_late, HOME)

    withdrawn, sent = at_once(
        lambda: refunds.withdraw_request(too_late),
        lambda: refunds.begin_sending(asked, ShownRefund(HOME, 5_000), by="clerk"),
    )

    asked.refresh_from_db()
    assert (withdrawn, sent) in [(BeingSent, None), (None, RefundChanged)]
    assert asked.is_being_sent == (sent is None)
    assert (fresh(too_late).settlement == "cancelled") == asked.is_being_sent


@pytest.mark.django_db(transaction=True)
def test_cancelled_and_paid_at_once_is_one_of_them(invoice, provider):
    told = report(invoice, 1, invoice.attempt.due, 2)

    at_once(
        lambda: ingestion.record_report(provider, told),
        lambda: refunds.cancel(invoice, "merchant clerk"),
    )

    invoice = fresh(invoice)
    assert (invoice.paid_at is None) == (invoice.cancelled_at is not None)
    assert Delivery.objects.count() == (1 if invoice.paid_at else 0)
    assert invoice.attempt.refundable == (0 if invoice.paid_at else 10_000)


@pytest.mark.django_db(transaction=True)
def test_asking_back_and_paying_the_rest_at_once_loses_nothing(too_late, provider):
    rest = report(too_late, 2, 5_000, 2)

    at_once(
        lambda: refunds.request_refund(too_late, HOME),
        lambda: ingestion.record_report(provider, rest),
    )

    invoice = fresh(too_late)
    if invoice.paid_at:
        assert not Refund.objects.exists()
    else:
        assert invoice.attempt.refundable == 10_000
        assert invoice.review
        assert not Delivery.objects.exists()


def test_a_year_later_it_is_still_there(too_late):
    with time_machine.travel(timezone.now() + timedelta(days=365), tick=False):
        assert fresh(too_late).attempt.refundable == 5_000


def test_a_sum_is_exact_however_large(make_invoice, provider):
    invoice = make_invoice(price="0.01")
    ingestion.record_report(provider, report(invoice, 1, 2_100_000_000_000_001, 2))
    ingestion.record_report(
        provider,
        report(invoice, 1, 2_100_000_000_000_001, 2),
        by="reconcile",
    )

    assert fresh(invoice).total == Decimal("0.01")
    assert fresh(invoice).attempt.refundable == 2_100_000_000_000_001 - 10

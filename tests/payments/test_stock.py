"""Stock: set aside for an open order, given back when nobody pays, never sold twice."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.models import Q
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from payments import checkout, ingestion, refunds, stock
from payments.models import Invoice, InvoiceLine, Line, Product
from payments.providers.base import TransactionReport
from payments.stock import OutOfStock
from tests.conftest import address

pytestmark = pytest.mark.django_db(transaction=True)

THREADS = 50


@pytest.fixture
def limited(make_product):
    """One with three left, for 10 USD."""
    return make_product(stock=3)


@pytest.fixture
def order(limited, provider, service):
    def order(quantity=1, product=None):
        return checkout.place_order([Line(product or fresh(limited), quantity)], provider)

    return order


@pytest.fixture
def run_out(time_machine):
    """Time passes until the quote is over, grace included; the worker does what is due."""

    def run_out(invoice):
        time_machine.move_to(Invoice.objects.get(pk=invoice.pk).expires_at + timedelta(minutes=2))
        call_command("worker", once=True)

    return run_out


@pytest.fixture
def a_day_later(time_machine):
    def a_day_later(invoice):
        time_machine.move_to(invoice.created_at + timedelta(hours=24, minutes=1))
        call_command("worker", once=True)

    return a_day_later


def fresh(product):
    return Product.objects.get(pk=product.pk)


def left(product):
    return fresh(product).stock


def states(invoice):
    return list(invoice.lines.values_list("stock", flat=True))


def kinds(invoice):
    return list(invoice.timeline.values_list("kind", flat=True))


# Set aside


def test_what_is_ordered_is_set_aside(order, limited):
    invoice = order(2)

    assert left(limited) == 1
    assert states(invoice) == ["held"]


def test_more_than_there_is_cannot_be_ordered_and_no_address_is_asked_for(order, limited, service):
    with pytest.raises(OutOfStock):
        order(4)

    assert left(limited) == 3
    assert not service.calls


def test_what_is_not_counted_never_runs_out(order, make_product):
    invoice = order(99, make_product())

    assert states(invoice) == [""]


def test_one_basket_takes_all_or_nothing(limited, make_product, provider, service):
    other = make_product(stock=1)
    lines = [Line(fresh(limited), 2), Line(fresh(other), 1)]
    Product.objects.filter(pk=other.pk).update(stock=0)

    with pytest.raises(OutOfStock):
        checkout.place_order(lines, provider)

    assert (left(limited), left(other)) == (3, 0)
    assert not Invoice.objects.exists()


def test_the_address_of_who_came_too_late_goes_to_the_next(
    limited, provider, service, make_product
):
    late = [Line(fresh(limited), 3)]
    Product.objects.filter(pk=limited.pk).update(stock=1)
    with pytest.raises(OutOfStock):
        checkout.place_order(late, provider)

    invoice = checkout.place_order([Line(make_product())], provider)

    assert invoice.attempt.reference == address(0)
    assert sum("new_address" in call.request.url for call in service.calls) == 1


def test_the_last_one_is_sold_once_to_fifty_at_once(make_product, service):
    product = make_product(stock=1)

    def buy(_):
        try:
            return Client().post(f"/payments/create/{product.pk}/").status_code
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as crowd:
        codes = list(crowd.map(buy, range(THREADS)))

    assert sorted(codes) == [302] + [409] * (THREADS - 1)
    assert left(product) == 0
    assert InvoiceLine.objects.filter(stock="held").count() == 1


def test_who_comes_too_late_reads_so(client, limited):
    Product.objects.filter(pk=limited.pk).update(stock=0)

    response = client.post(f"/payments/create/{limited.pk}/")

    assert response.status_code == 409
    assert "is sold out" in response.content.decode()


# Given back


def test_what_nobody_pays_for_is_given_back(order, limited, run_out):
    invoice = order(2)

    run_out(invoice)

    assert left(limited) == 3
    assert states(invoice) == ["returned"]
    assert "stock-released" in kinds(invoice)


def test_before_the_quote_is_over_nothing_is_given_back(order, limited, time_machine):
    invoice = order(2)
    time_machine.move_to(invoice.expires_at + timedelta(seconds=30), tick=False)

    call_command("worker", once=True)

    assert left(limited) == 1


@pytest.mark.parametrize("status", [0, 1, 2])
@pytest.mark.parametrize("value", [2_500, 10_000])
def test_what_was_paid_for_is_not_given_back(order, limited, call_back, run_out, status, value):
    invoice = order()
    call_back(invoice, status=status, value=value)

    run_out(invoice)

    assert left(limited) == 2
    assert states(invoice) == ["held"]


def test_what_was_paid_in_part_is_kept_for_a_day(order, limited, call_back, run_out, a_day_later):
    invoice = order()
    call_back(invoice, status=0, value=1, rbf=1)
    run_out(invoice)
    assert left(limited) == 2

    a_day_later(invoice)

    assert left(limited) == 3


def test_whoever_pays_the_rest_after_that_day_gets_it_if_there_is_one(
    client, order, limited, call_back, run_out, a_day_later
):
    invoice = order()
    call_back(invoice, value=9_000)
    run_out(invoice)
    a_day_later(invoice)
    client.post(f"/payments/invoice/{invoice.key}/quote/")
    assert states(invoice) == ["returned"]

    call_back(invoice, number=2, value=1_000)

    assert (states(invoice), left(limited)) == (["held"], 2)
    assert Invoice.objects.get(pk=invoice.pk).settlement == "paid"


def test_new_quotes_keep_the_goods_for_no_longer_than_a_day(
    client, order, limited, run_out, a_day_later
):
    invoice = order(3)
    a_day_later(invoice)

    client.post(f"/payments/invoice/{invoice.key}/quote/")

    assert (states(invoice), left(limited)) == (["returned"], 3)
    run_out(invoice)
    order(1)
    page = client.post(f"/payments/invoice/{invoice.key}/quote/")
    assert page.status_code == 409


def test_without_a_payment_they_are_kept_for_the_first_quote_and_its_renewal(
    client, order, limited, time_machine
):
    invoice = order(3)
    for renewal in range(3):
        ends = Invoice.objects.get(pk=invoice.pk).expires_at
        # Within the grace, before any worker could put them back.
        time_machine.move_to(ends + timedelta(seconds=1))
        client.post(f"/payments/invoice/{invoice.key}/quote/")
        assert states(invoice) == ["held" if renewal == 0 else "returned"]

    assert left(limited) == 3
    assert Invoice.objects.get(pk=invoice.pk).settlement == "waiting"


@pytest.mark.parametrize("late", [True, False])
def test_dust_keeps_the_goods_for_a_day_and_no_longer(
    order, limited, call_back, run_out, a_day_later, late
):
    invoice = order(3)
    if late:
        run_out(invoice)
    call_back(invoice, value=546)
    assert states(invoice) == ["held"]

    a_day_later(invoice)

    assert left(limited) == 3
    call_back(invoice, number=2, value=546)
    assert left(limited) == 3


def test_dust_and_a_payment_that_vanishes_keep_nothing(
    order, limited, call_back, a_day_later, provider, time_machine
):
    invoice = order(3)
    call_back(invoice, value=546)
    call_back(invoice, number=2, value=invoice.attempt.due, status=0)
    a_day_later(invoice)
    assert left(limited) == 0  # covered by what is seen
    stays = [report_of(row) for row in invoice.attempt.transactions.filter(is_final=True)]
    for _ in range(2):
        ingestion.reconcile_history(provider, invoice.attempt, stays, by="reconcile")
        time_machine.shift(timedelta(hours=2))

    call_command("worker", once=True)

    assert left(limited) == 3


def test_taking_a_refund_back_after_that_day_sets_nothing_aside(
    client, order, limited, call_back, run_out, a_day_later
):
    invoice = order(3)
    call_back(invoice, value=1_000)
    run_out(invoice)
    client.post(f"{invoice.get_absolute_url()}refund/", {"address": address(77)})
    assert left(limited) == 3
    a_day_later(invoice)

    refunds.withdraw_request(invoice)

    assert left(limited) == 3
    assert Invoice.objects.get(pk=invoice.pk).settlement == "underpaid"


def test_giving_back_twice_gives_back_once(order, limited, run_out):
    invoice = order()
    run_out(invoice)

    stock.release_overdue()

    assert left(limited) == 3


def test_a_cancelled_order_gives_back(order, limited):
    refunds.cancel(order(), by="merchant")

    assert left(limited) == 3


# Taken again


def test_a_new_quote_takes_it_again(client, order, limited, run_out):
    invoice = order(2)
    run_out(invoice)

    client.post(f"/payments/invoice/{invoice.key}/quote/")

    assert left(limited) == 1
    assert states(invoice) == ["held"]

    run_out(invoice)
    assert left(limited) == 3


def test_there_is_no_new_quote_for_what_is_gone(client, order, limited, run_out):
    invoice = order(2)
    run_out(invoice)
    order(3)

    response = client.post(f"/payments/invoice/{invoice.key}/quote/")

    assert response.status_code == 409
    assert "there is no new price" in response.content.decode()
    after = Invoice.objects.get(pk=invoice.pk)
    assert (after.attempt.due, after.expires_at) == (invoice.attempt.due, invoice.expires_at)


def test_late_money_takes_it_again(order, limited, run_out, call_back):
    invoice = order()
    run_out(invoice)

    call_back(invoice)

    assert left(limited) == 2
    assert states(invoice) == ["held"]
    assert Invoice.objects.get(pk=invoice.pk).settlement == "paid"


def test_late_money_for_what_is_gone_is_told_to_both(
    client, order, limited, run_out, call_back, mailoutbox
):
    invoice = order()
    run_out(invoice)
    order(3)

    call_back(invoice)
    call_command("worker", once=True)

    after = Invoice.objects.get(pk=invoice.pk)
    assert (after.settlement, states(after), left(limited)) == ("paid", ["backordered"], 0)
    assert "sold out before the money came" in after.review
    assert any("merchant@example.com" in mail.to for mail in mailoutbox)
    page = client.get(after.get_absolute_url()).content.decode()
    assert "sold out" in page
    line = after.lines.get()
    assert client.get(f"{after.get_absolute_url()}download/{line.pk}/").status_code == 404


def test_who_got_new_stock_delivers_what_was_lacking(client, order, limited, run_out, call_back):
    invoice = order()
    run_out(invoice)
    order(3)
    call_back(invoice)
    Product.objects.filter(pk=limited.pk).update(stock=5)

    assert stock.allocate_backorders(limited.pk, by="merchant") == 1

    assert (states(invoice), left(limited)) == (["held"], 4)
    line = invoice.lines.get()
    with closing(client.get(f"{invoice.get_absolute_url()}download/{line.pk}/")) as response:
        assert response.status_code == 200


@pytest.fixture
def sold_out_late(order, limited, run_out, call_back):
    """Paid, but late: somebody else has got the last ones."""
    invoice = order()
    run_out(invoice)
    quicker = order(3)
    call_back(invoice)
    return invoice, quicker


def test_what_another_order_gives_back_serves_who_waits_for_it(sold_out_late, run_out, limited):
    invoice, quicker = sold_out_late

    run_out(quicker)

    assert (states(invoice), left(limited)) == (["held"], 2)


def test_who_paid_for_what_was_gone_can_have_it_back(sold_out_late, client, limited):
    invoice = Invoice.objects.get(pk=sold_out_late[0].pk)
    assert invoice.attempt.refundable == 10_000
    assert "sold out by then" in client.get(invoice.get_absolute_url()).content.decode()

    client.post(f"/payments/invoice/{invoice.key}/refund/", {"address": address(77)})
    Product.objects.filter(pk=limited.pk).update(stock=5)

    assert stock.allocate_backorders(limited.pk, by="merchant") == 0
    assert states(invoice) == ["backordered"]


def test_no_dead_order_is_served(order, limited, run_out, call_back):
    invoice = order()
    run_out(invoice)
    order(3)
    call_back(invoice, value=5_000)
    assert states(invoice) == ["backordered"]

    refunds.cancel(Invoice.objects.get(pk=invoice.pk), by="merchant")
    Product.objects.filter(pk=limited.pk).update(stock=1)

    assert stock.allocate_backorders(limited.pk, by="merchant") == 0
    assert left(limited) == 1


def test_a_payment_that_vanishes_lets_the_goods_go(
    order, limited, run_out, call_back, provider, time_machine
):
    invoice = order()
    call_back(invoice, status=0)
    time_machine.move_to(timezone.now() + timedelta(minutes=1))
    ingestion.reconcile_history(provider, invoice.attempt, [], by="reconcile")
    time_machine.shift(timedelta(hours=2))
    ingestion.reconcile_history(provider, invoice.attempt, [], by="reconcile")
    assert Invoice.objects.get(pk=invoice.pk).settlement == "waiting"

    call_command("worker", once=True)

    assert left(limited) == 3


# The merchant


def test_who_edits_the_words_does_not_undo_a_sale(admin_client, limited, order):
    page = f"/admin/catalogue/product/{limited.pk}/change/"
    seen = admin_client.get(page).context["adminform"].form
    order(2)

    response = admin_client.post(page, filled_in(seen, title="New words"))

    assert response.status_code == 302, response.context["adminform"].form.errors
    assert (fresh(limited).title, left(limited)) == ("New words", 1)


def test_who_puts_more_into_stock_adds_to_what_is_left_just_then(admin_client, limited, order):
    page = f"/admin/catalogue/product/{limited.pk}/change/"
    seen = admin_client.get(page).context["adminform"].form
    order(2)

    admin_client.post(page, filled_in(seen, stock=10))

    assert left(limited) == 8


def filled_in(form, **changes):
    """What a browser sends back of the desk's form, hidden first values and inlines included."""
    values = {name: form[name].value() for name in form.fields if name != "file"}
    sent = {name: value for name, value in (values | changes).items() if value is not None}
    return sent | {
        "initial-stock": values["stock"],
        "pictures-TOTAL_FORMS": 0,
        "pictures-INITIAL_FORMS": 0,
    }


# Whatever happens

SUMS = {"pay": None, "part": 1_000, "dust": 546}


def report_of(row):
    return TransactionReport(
        row.attempt.reference, row.transaction_id, row.amount, row.confirmations, row.is_final
    )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.sampled_from(
                ["order", "run_out", "a_day", "pay", "part", "dust", "quote", "cancel", "refund"]
                + ["withdraw", "vanish"]
            ),
            st.integers(0, 3),
        ),
        max_size=12,
    )
)
def test_every_piece_is_in_stock_or_set_aside_once_and_what_is_unpaid_has_an_end(
    limited, order, run_out, a_day_later, call_back, client, provider, time_machine, steps
):
    Product.objects.filter(pk=limited.pk).update(stock=3)
    InvoiceLine.objects.all().update(stock="")
    time_machine.move_to(timezone.now())
    invoices = []
    for number, (step, choice) in enumerate(steps):
        invoice = invoices[choice % len(invoices)] if invoices else None
        if step == "order" or invoice is None:
            try:
                invoices.append(order(choice or 1))
            except OutOfStock:
                assert left(limited) < (choice or 1)
        elif step == "run_out":
            run_out(invoice)
        elif step == "a_day":
            a_day_later(invoice)
        elif step in SUMS:
            status = 0 if choice == 3 else 2
            value = SUMS[step] or invoice.attempt.due
            call_back(invoice, 1_000_000 * invoice.pk + number, value=value, status=status)
        elif step == "vanish":
            reported = invoice.attempt.transactions.filter(is_final=True)
            stays = [report_of(row) for row in reported]
            for _ in range(2):
                ingestion.reconcile_history(provider, invoice.attempt, stays, by="reconcile")
                time_machine.shift(timedelta(hours=2))
        elif step == "refund":
            client.post(f"{invoice.get_absolute_url()}refund/", {"address": address(77)})
        elif step == "withdraw":
            refunds.withdraw_request(invoice)
        elif step == "quote":
            client.post(f"/payments/invoice/{invoice.key}/quote/")
        else:
            refunds.cancel(invoice, by="merchant")
        held = InvoiceLine.objects.filter(stock="held", product=limited)
        assert left(limited) + sum(line.quantity for line in held) == 3
    time_machine.shift(timedelta(hours=25))
    call_command("worker", once=True)
    held = InvoiceLine.objects.filter(stock="held", product=limited)
    covered = Q(invoice__settlement="paid") | Q(invoice__settlement="confirming")
    assert not held.exclude(covered).exists()

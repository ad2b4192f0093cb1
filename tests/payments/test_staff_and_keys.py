"""An order's key opens goods and refund: whoever may only look at the desk never sees it."""

import pytest
from django.contrib.contenttypes.models import ContentType

from payments import refunds
from payments.models import Invoice
from tests.conftest import address

HOME = address(900)
LOOKING = [
    *["view_invoice", "view_refund", "view_callback", "view_paymentattempt", "view_mail"],
    *["view_event", "view_invoiceline", "view_product"],
]


@pytest.fixture
def overpaid(invoice, call_back):
    Invoice.objects.filter(pk=invoice.pk).update(email="buyer@example.com")
    call_back(invoice, value=15_000)
    refunds.request_refund(invoice, HOME)
    return Invoice.objects.get(pk=invoice.pk)


def pages(invoice):
    refund, callback = invoice.refunds.get(), invoice.callbacks.get()
    return [
        "/admin/",
        "/admin/payments/invoice/",
        f"/admin/payments/invoice/{invoice.pk}/change/",
        f"/admin/payments/invoice/{invoice.pk}/history/",
        "/admin/payments/refund/",
        f"/admin/payments/refund/{refund.pk}/change/",
        "/admin/payments/callback/",
        f"/admin/payments/callback/{callback.pk}/change/",
    ]


def test_whoever_may_only_look_finds_no_key_at_the_desk(clerk, overpaid):
    desk = clerk(*LOOKING)

    for path in pages(overpaid):
        response = desk.get(path)
        assert response.status_code == 200
        assert overpaid.key not in response.content.decode(), path


def test_view_on_site_tells_nobody_a_key(clerk, admin_client, overpaid):
    kind = ContentType.objects.get_for_model(Invoice)
    for desk in (admin_client, clerk(*LOOKING)):
        response = desk.get(f"/admin/r/{kind.pk}/{overpaid.pk}/")

        assert overpaid.key not in response.get("Location", "")


def test_who_may_act_for_the_shopper_opens_the_page(clerk, overpaid):
    desk = clerk("view_invoice", "act_for_shopper")

    page = desk.get(f"/admin/payments/invoice/{overpaid.pk}/change/").content.decode()

    assert overpaid.get_absolute_url() in page


def test_what_staff_do_on_an_orders_page_is_recorded_as_theirs(clerk, invoice, call_back):
    staff, path = clerk("act_for_shopper"), invoice.get_absolute_url()
    call_back(invoice, value=5_000)
    staff.post(f"{path}quote/")
    invoice.attempts.update(expires_at=invoice.created_at)
    staff.post(f"{path}refund/", {"address": HOME})
    assert Invoice.objects.get(pk=invoice.pk).is_cancelled_by_shopper
    staff.post(f"{path}refund/", {"withdraw": "yes"})
    call_back(invoice, number=2, value=5_000)
    line = invoice.lines.get()
    b"".join(staff.get(f"{path}download/{line.pk}/").streaming_content)

    told = invoice.timeline.exclude(by__in=["callback", "worker"]).exclude(kind="created")
    done = dict(told.values_list("kind", "by"))
    steps = ["quoted", "refund-requested", "cancelled", "refund-withdrawn", "downloaded"]
    assert done == dict.fromkeys(steps, "merchant clerk")


def test_what_the_shopper_does_is_the_shoppers(client, invoice, call_back):
    call_back(invoice)
    line = invoice.lines.get()

    b"".join(client.get(f"{invoice.get_absolute_url()}download/{line.pk}/").streaming_content)

    assert invoice.timeline.get(kind="downloaded").by == "shopper"

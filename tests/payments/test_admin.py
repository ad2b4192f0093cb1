import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from PIL import Image

from payments import refunds
from payments.models import Callback, Invoice, InvoiceLine, Product, Transaction
from tests.conftest import address, txid

PRODUCTS = "/admin/catalogue/product/"
INVOICES = "/admin/payments/invoice/"
CALLBACKS = "/admin/payments/callback/"
# What the form of a product says of its pictures.
NO_PICTURES = {"pictures-TOTAL_FORMS": 0, "pictures-INITIAL_FORMS": 0}


@pytest.fixture
def picture():
    content = io.BytesIO()
    Image.new("RGB", (96, 54), "teal").save(content, "PNG")
    return SimpleUploadedFile("preview.png", content.getvalue(), "image/png")


@pytest.fixture
def desk(admin_client):
    """One page of the merchant's desk, as text."""

    def look(path, **query):
        response = admin_client.get(path, query)
        assert response.status_code == 200
        return response.content.decode()

    return look


@pytest.fixture
def found(desk):
    """The order codes in the list of invoices, given what was asked for."""

    def orders(**query):
        return set(re.findall(r'class="field-order"><a [^>]*>(.*?)</a>', desk(INVOICES, **query)))

    return orders


# Products


def test_a_product_is_put_into_the_catalogue(admin_client, desk, picture, settings):
    response = admin_client.post(
        f"{PRODUCTS}add/",
        {
            "title": "Mountain",
            "slug": "mountain",
            "price": "10.00",
            "description": "",
            "active": "on",
            "file": SimpleUploadedFile("mountain.txt", b"a mountain, full size"),
            **NO_PICTURES,
            "pictures-TOTAL_FORMS": 1,
            "pictures-0-image": picture,
            "pictures-0-position": 0,
        },
    )

    product = Product.objects.get()
    assert (response.status_code, response["Location"]) == (302, PRODUCTS)
    assert Path(product.cover.image.path).is_relative_to(settings.MEDIA_ROOT)
    assert Path(product.file.path).read_bytes() == b"a mountain, full size"
    assert product.cover.thumbnail in desk(PRODUCTS)
    assert product.cover.url in desk("/")
    assert product.cover.url in desk(product.get_absolute_url())


def test_the_goods_are_kept_where_no_url_leads(client, product, settings):
    path = Path(product.file.path).resolve()

    answer = client.get(f"/media/{product.file.name}")

    assert path.exists()
    for public in (settings.MEDIA_ROOT, settings.STATIC_ROOT, *settings.STATICFILES_DIRS):
        assert not path.is_relative_to(Path(public).resolve())
    assert answer.status_code == 404


def test_the_desk_links_to_nothing_that_is_not_there(desk, product):
    page = desk(f"{PRODUCTS}{product.pk}/change/")

    assert product.file.name in page
    assert f'href="/media/{product.file.name}"' not in page


@pytest.mark.parametrize("price", ["0", "0.00", "-1", "1.001", "NaN", "Infinity", "free", ""])
def test_a_product_has_a_price(admin_client, price):
    response = admin_client.post(
        f"{PRODUCTS}add/", {"title": "Mountain", "slug": "mountain", "price": price, **NO_PICTURES}
    )

    assert response.status_code == 200
    assert not Product.objects.exists()


def test_a_product_is_taken_out_of_the_catalogue_in_the_list(admin_client, desk, product):
    form = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": product.pk, "_save": "1"}

    admin_client.post(PRODUCTS, form)

    product.refresh_from_db()
    assert not product.active


@pytest.mark.parametrize("door", ["the product's page", "the list"])
def test_a_product_that_was_sold_stays(admin_client, make_invoice, door):
    invoice = make_invoice()
    product = invoice.lines.get().product

    if door == "the list":
        admin_client.post(
            PRODUCTS,
            {"action": "delete_selected", "_selected_action": product.pk, "post": "yes"},
        )
    else:
        admin_client.post(f"{PRODUCTS}{product.pk}/delete/", {"post": "yes"})

    assert Product.objects.filter(pk=product.pk).exists()
    assert invoice.lines.count() == 1


def test_the_desk_says_why_a_sold_product_stays(desk, invoice):
    product = invoice.lines.get().product

    page = desk(f"{PRODUCTS}{product.pk}/delete/")

    assert "protected" in page
    assert "make it inactive" in page


def test_so_it_does_for_several_at_once(admin_client, invoice):
    product = invoice.lines.get().product
    form = {"action": "delete_selected", "_selected_action": [product.pk]}

    assert "make it inactive" in admin_client.post(PRODUCTS, form).content.decode()


def test_what_is_on_sale_has_a_file_for_its_buyers(admin_client, make_product):
    product = make_product(file=None, active=False)
    form = {"title": "A", "slug": "a", "price": "9", "active": "on", "pictures-TOTAL_FORMS": 0}
    form["pictures-INITIAL_FORMS"] = 0

    page = admin_client.post(f"{PRODUCTS}{product.pk}/change/", form).content.decode()
    assert "needs a file for its buyers" in page
    rows = {"form-TOTAL_FORMS": 1, "form-INITIAL_FORMS": 1, "form-0-id": product.pk}
    admin_client.post(PRODUCTS, rows | {"form-0-active": "on", "_save": "Save"})

    product.refresh_from_db()
    assert not product.active


@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_all_times_are_in_one_zone_and_the_page_says_which(desk, make_invoice, settings, zone):
    settings.TIME_ZONE = zone
    page = desk(f"/admin/payments/invoice/{make_invoice().pk}/change/")

    assert f"Times are in the time zone {zone}" in page
    assert ("UTC" in page) == (zone == "UTC")


def test_a_product_that_nobody_bought_can_go(admin_client, product):
    admin_client.post(f"{PRODUCTS}{product.pk}/delete/", {"post": "yes"})

    assert not Product.objects.exists()


def test_the_list_of_products_asks_the_database_no_more_for_twenty_than_for_two(desk, make_product):
    make_product()
    make_product()
    with CaptureQueriesContext(connection) as for_two:
        desk(PRODUCTS)
    for _ in range(18):
        make_product()

    with CaptureQueriesContext(connection) as for_twenty:
        desk(PRODUCTS)

    assert len(for_twenty) == len(for_two)


# Invoices


def test_an_invoice_is_shown_with_all_that_is_known_of_it(desk, make_invoice, call_back):
    invoice = make_invoice(email="buyer@example.com")
    call_back(invoice, number=1, status=0, value=4_000)
    call_back(invoice, number=2, status=2, value=6_000)

    page = desk(f"{INVOICES}{invoice.pk}/change/")

    for fact in (
        invoice.order,
        invoice.attempt.reference,
        "buyer@example.com",
        "10.00\u00a0USD",
        "Mountain",
        txid(1),
        txid(2),
        "0.00004000",
        "0.00006000",
        "0.00010000",
        f"txid={txid(1)}",
        "Recorded",
        invoice.get_absolute_url(),
    ):
        assert fact in page


def test_the_list_shows_each_invoice_in_a_line(desk, make_invoice, call_back):
    invoice = make_invoice(quantity=2)
    call_back(invoice, status=2)

    page = desk(INVOICES)

    assert invoice.order in page
    assert "2 × Mountain" in page
    assert "20.00\u00a0USD" in page
    assert "0.00020000" in page
    assert ">Paid<" in page


def test_an_invoice_without_an_answer_in_time_is_shown_as_expired(desk, make_invoice):
    make_invoice(expires_at=timezone.now() - timedelta(minutes=1))

    assert ">The quote is over<" in desk(INVOICES)


@pytest.mark.parametrize(
    "words",
    [
        "{invoice.order}",
        "{invoice.order_code}",
        " {invoice.order} ",
        "{lower}",
        "{invoice.attempt.reference}",
        "{txid}",
        "buyer@example.com",
        "BUYER@example",
    ],
)
def test_an_invoice_is_found_by_what_a_shopper_can_read_out(found, make_invoice, call_back, words):
    make_invoice()
    invoice = make_invoice(email="buyer@example.com")
    call_back(invoice, number=4_711)
    call_back(invoice, number=4_712)

    asked = words.format(invoice=invoice, lower=invoice.order.lower(), txid=txid(4_711))

    assert found(q=asked) == {invoice.order}


@pytest.mark.parametrize("words", ["ZZZZ-ZZZZ", "nobody@example.com", "%", "'x", "x" * 10_000])
def test_what_is_not_there_is_not_found(found, invoice, words):
    assert found(q=words) == set()


def test_the_list_is_filtered_by_settlement(found, make_invoice, call_back):
    a_minute_ago = timezone.now() - timedelta(minutes=1)
    orders = {
        "waiting": make_invoice(),
        "expired": make_invoice(expires_at=a_minute_ago),
        "underpaid": make_invoice(),
        "confirming": make_invoice(),
        "paid": make_invoice(),
        "cancelled": make_invoice(),
    }
    refunds.cancel(orders["cancelled"], "merchant clerk", "sold out")
    call_back(orders["underpaid"], number=1, value=1)
    call_back(orders["confirming"], number=2, status=0)
    call_back(orders["paid"], number=3, status=2)

    assert set(orders) == set(Invoice.Settlement)
    for settlement, invoice in orders.items():
        assert found(settlement=settlement) == {invoice.order}
    assert found() == {invoice.order for invoice in orders.values()}


def test_the_list_of_invoices_asks_the_database_no_more_for_twenty_than_for_two(
    desk, make_invoice, call_back
):
    for number in range(2):
        call_back(make_invoice(), number=number)
    with CaptureQueriesContext(connection) as for_two:
        desk(INVOICES)
    for number in range(2, 20):
        call_back(make_invoice(), number=number)

    with CaptureQueriesContext(connection) as for_twenty:
        desk(INVOICES)

    assert len(for_twenty) == len(for_two)


def test_an_invoice_asks_the_database_no_more_for_ten_payments_than_for_one(
    desk, make_invoice, call_back
):
    invoice = make_invoice()
    call_back(invoice, number=1, value=10)
    with CaptureQueriesContext(connection) as for_one:
        desk(f"{INVOICES}{invoice.pk}/change/")
    for number in range(2, 11):
        call_back(invoice, number=number, value=10)

    with CaptureQueriesContext(connection) as for_ten:
        page = desk(f"{INVOICES}{invoice.pk}/change/")

    assert txid(10) in page
    assert len(for_ten) == len(for_one)


def test_the_inbox_asks_the_database_no_more_for_ten_callbacks_than_for_one(
    desk, make_invoice, call_back
):
    call_back(make_invoice(), number=1)
    with CaptureQueriesContext(connection) as for_one:
        desk(CALLBACKS)
    for number in range(2, 11):
        call_back(make_invoice(), number=number)

    with CaptureQueriesContext(connection) as for_ten:
        desk(CALLBACKS)

    assert Callback.objects.count() == 10
    assert len(for_ten) == len(for_one)


# Facts are looked at, not made


@pytest.mark.parametrize("place", [INVOICES, CALLBACKS])
def test_facts_cannot_be_added(admin_client, place):
    assert admin_client.get(f"{place}add/").status_code == 403
    assert admin_client.post(f"{place}add/", {"total": "1"}).status_code == 403


@pytest.mark.parametrize("verb", ["change", "delete"])
@pytest.mark.parametrize("model", [Invoice, Callback])
def test_facts_cannot_be_changed_or_deleted(admin_client, invoice, call_back, model, verb):
    call_back(invoice, value=1)
    fact = model.objects.get()
    before = model.objects.values().get()

    response = admin_client.post(
        f"/admin/payments/{model._meta.model_name}/{fact.pk}/{verb}/",
        {"post": "yes", "settlement": "paid", "total": "0.01", "outcome": "known"},
    )

    assert response.status_code == 403
    assert model.objects.values().get() == before


@pytest.mark.parametrize("place", [INVOICES, CALLBACKS])
def test_facts_cannot_be_deleted_from_the_list(admin_client, invoice, call_back, place):
    call_back(invoice, value=1)
    everything = Invoice.objects.values_list("pk") if place == INVOICES else []
    selected = [pk for (pk,) in everything] or list(Callback.objects.values_list("pk", flat=True))

    admin_client.post(
        place, {"action": "delete_selected", "_selected_action": selected, "post": "yes"}
    )

    assert Invoice.objects.count() == Callback.objects.count() == 1
    assert Transaction.objects.count() == InvoiceLine.objects.count() == 1


def test_the_page_of_an_invoice_has_nothing_to_fill_in(desk, invoice, call_back):
    call_back(invoice)

    page = desk(f"{INVOICES}{invoice.pk}/change/")

    assert 'name="_save"' not in page
    assert 'name="settlement"' not in page
    assert "deletelink" not in page


# Who may come in


@pytest.mark.parametrize(
    "path", ["", "payments/", *("payments/" + m for m in ("product/", "invoice/", "callback/"))]
)
def test_a_stranger_is_led_to_the_login(client, db, path):
    response = client.get(f"/admin/{path}")

    assert response.status_code == 302
    assert response["Location"].startswith("/admin/login/?next=/admin/")


def test_a_shopper_with_an_account_is_led_to_the_login(client, db):
    client.force_login(User.objects.create_user("shopper"))

    assert client.get(INVOICES)["Location"].startswith("/admin/login/")


@pytest.mark.parametrize("place", [PRODUCTS, INVOICES, CALLBACKS])
def test_staff_without_the_permission_are_turned_away(clerk, invoice, place):
    visitor = clerk()

    assert visitor.get("/admin/").status_code == 200
    assert visitor.get(place).status_code == 403
    assert visitor.get(f"{place}1/change/").status_code in (302, 403)


def test_staff_with_the_permission_to_look_can_look(clerk, invoice):
    visitor = clerk("view_invoice")

    page = visitor.get(f"{INVOICES}{invoice.pk}/change/")

    assert page.status_code == 200
    assert invoice.order in page.content.decode()
    assert visitor.get(PRODUCTS).status_code == 403


@pytest.mark.parametrize("kind", ["payments/invoice", "payments/refund", "payments/callback"])
def test_a_row_of_a_list_leads_to_its_own_page(admin_client, invoice, call_back, kind):
    call_back(invoice, value=15_000)
    refunds.request_refund(invoice, address(900))

    page = admin_client.get(f"/admin/{kind}/").content.decode()

    (row,) = re.findall(r"<tbody>(.*?)</tbody>", page, re.DOTALL)
    (link,) = re.findall(r'<th class="field-[^"]+"><a href="([^"]+)">[^<]+</a></th>', row)
    assert re.fullmatch(rf"/admin/{kind}/\d+/change/", link.partition("?")[0])
    assert not re.search(r"<a [^>]*>\s*<a ", page)

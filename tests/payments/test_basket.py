import re
from concurrent.futures import ThreadPoolExecutor
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from payments.models import BasketLine, Invoice


@pytest.fixture
def put(client):
    """Puts one more of the product into the basket or, with a quantity, makes it so many."""

    def put(product, quantity=None):
        data = {} if quantity is None else {"quantity": quantity}
        return client.post(f"/basket/{product.pk}/", data)

    return put


@pytest.fixture
def basket(client):
    """What the basket's page shows: quantity by title, the total, the count in the header."""

    def look():
        response = client.get("/basket/")
        assert response.status_code == 200
        return Shown(response.content.decode())

    return look


class Shown:
    def __init__(self, page: str):
        self.page = page
        lines = re.findall(
            r'<label [^>]*>How many of (.*?)</label>\s*<input [^>]*value="(.*?)"', page
        )
        self.lines = {unescape(title): int(quantity) for title, quantity in lines}
        total = re.search(r'Total <span class="price large">(.*?)</span>', page)
        self.total = total and total[1].replace("\u00a0", " ")
        count = re.search(r'<span class="count">(\d+)</span>', page)
        self.count = int(count[1]) if count else 0


def test_a_new_basket_is_empty(basket, db):
    shown = basket()

    assert "Nothing in it yet." in shown.page
    assert (shown.lines, shown.total, shown.count) == ({}, None, 0)


def test_putting_leads_to_the_basket(put, product):
    response = put(product)

    assert (response.status_code, response["Location"]) == (302, "/basket/")


def test_putting_it_twice_makes_two(put, basket, product):
    put(product)
    put(product)

    assert basket().lines == {"Mountain": 2}


def test_a_quantity_replaces_the_one_before(put, basket, product):
    put(product, 5)
    put(product, 3)

    assert basket().lines == {"Mountain": 3}


def test_a_quantity_of_none_removes_it(put, basket, make_product):
    mountain, lake = make_product("Mountain"), make_product("Lake")
    put(mountain)
    put(lake)

    put(mountain, 0)

    assert basket().lines == {"Lake": 1}


def test_the_remove_button_works_beside_the_field(client, put, basket, product):
    put(product, 4)

    # A browser sends the field and the pressed button; the button comes last.
    client.post(f"/basket/{product.pk}/", {"quantity": ["4", "0"]})

    assert basket().lines == {}


def test_nobody_buys_more_than_99_of_a_kind(put, basket, product):
    put(product, 99)
    put(product)

    too_many = put(product, 100)

    assert too_many.status_code == 400
    assert basket().lines == {"Mountain": 99}


@pytest.mark.parametrize(
    "quantity", ["-1", "100", "1.5", "1e1", "many", "", " ", "\0", "0x1", "9" * 5_000, "NaN"]
)
def test_a_nonsense_quantity_makes_no_sense_and_changes_nothing(put, basket, product, quantity):
    put(product, 2)

    response = put(product, quantity)

    assert response.status_code == 400
    assert response["Content-Type"] == "text/plain"
    assert basket().lines == {"Mountain": 2}


def test_totals_add_up(put, basket, make_product):
    put(make_product("Mountain", price="10.00"), 3)
    put(make_product("Lake", price="0.99"), 2)

    shown = basket()

    assert shown.total == "31.98 USD"
    assert ">30.00\u00a0USD<" in shown.page
    assert ">1.98\u00a0USD<" in shown.page


def test_prices_are_those_of_today(put, basket, product):
    put(product, 2)
    product.price = 7
    product.save()

    assert basket().total == "14.00 USD"


def test_the_header_counts_the_pieces_on_every_page(client, put, make_product):
    put(make_product("Mountain"), 2)
    put(make_product("Lake"))

    for page in ("/", "/basket/", "/products/product-1/"):
        assert Shown(client.get(page).content.decode()).count == 3


def test_a_product_taken_off_sale_leaves_the_basket(put, basket, make_product):
    mountain, lake = make_product("Mountain"), make_product("Lake", price="3.00")
    put(mountain)
    put(lake)
    mountain.active = False
    mountain.save()

    shown = basket()

    assert shown.lines == {"Lake": 1}
    assert shown.total == "3.00 USD"
    assert shown.count == 1


def test_a_deleted_product_leaves_the_basket(put, basket, make_product):
    mountain, lake = make_product("Mountain"), make_product("Lake")
    put(mountain)
    put(lake)
    mountain.delete()

    shown = basket()

    assert shown.lines == {"Lake": 1}
    assert shown.count == 1


def test_a_product_that_is_not_on_sale_cannot_be_put_in(put, basket, make_product):
    hidden = make_product(active=False)

    assert put(hidden).status_code == 404
    assert basket().lines == {}


@pytest.mark.parametrize("pk", ["0", "4711", "9" * 19, "9" * 30])
def test_an_unknown_product_is_not_found(client, db, pk):
    assert client.post(f"/basket/{pk}/").status_code == 404


def test_one_shoppers_basket_is_no_other_shoppers(put, product):
    put(product)

    assert Shown(Client().get("/basket/").content.decode()).lines == {}


def test_looking_changes_nothing(client, basket, product):
    response = client.get(f"/basket/{product.pk}/")

    assert response.status_code == 405
    assert basket().lines == {}


def test_a_form_of_another_site_is_refused(product):
    visitor = Client(enforce_csrf_checks=True)

    response = visitor.post(f"/basket/{product.pk}/")

    assert response.status_code == 403
    assert Shown(visitor.get("/basket/").content.decode()).lines == {}


def test_the_forms_of_the_shop_carry_their_token(product):
    visitor = Client(enforce_csrf_checks=True)
    page = visitor.get(product.get_absolute_url()).content.decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="(\w+)"', page)[1]

    response = visitor.post(f"/basket/{product.pk}/", {"csrfmiddlewaretoken": token})

    assert response.status_code == 302
    assert Shown(visitor.get("/basket/").content.decode()).lines == {"Mountain": 1}


@pytest.fixture
def order(client, service):
    """Buys the basket; returns the invoice."""

    def order():
        client.post("/payments/create/")
        return Invoice.objects.latest("pk")

    return order


def test_what_was_ordered_leaves_the_basket_when_it_is_seen_to_be_paid(
    client, put, basket, order, product, call_back
):
    put(product)
    invoice = order()
    client.get(invoice.get_absolute_url())
    assert basket().lines == {"Mountain": 1}

    call_back(invoice, status=0)
    client.get(invoice.get_absolute_url())

    assert basket().lines == {}


def test_what_is_put_in_after_the_order_stays(client, put, basket, order, make_product, call_back):
    put(make_product("Mountain"))
    invoice = order()
    put(make_product("Lake"))
    call_back(invoice)

    client.get(invoice.get_absolute_url())

    assert basket().lines == {"Lake": 1}


def test_looking_at_an_old_purchase_empties_no_basket(
    client, put, basket, order, product, call_back
):
    put(product)
    old = order()
    call_back(old)
    client.get(old.get_absolute_url())
    put(product, 2)

    client.get(old.get_absolute_url())
    assert basket().lines == {"Mountain": 2}

    again = order()
    client.get(old.get_absolute_url())
    assert basket().lines == {"Mountain": 2}, "another invoice is the one to be paid"
    call_back(again, number=2)
    client.get(again.get_absolute_url())
    assert basket().lines == {}


def test_buying_at_once_leaves_the_basket_alone(client, put, basket, product, service, call_back):
    put(product, 3)
    client.post(f"/payments/create/{product.pk}/")
    invoice = Invoice.objects.get()
    call_back(invoice)

    client.get(invoice.get_absolute_url())

    assert basket().lines == {"Mountain": 3}


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("is_new", [True, False])
def test_what_is_added_at_once_is_all_there(product, make_product, is_new):
    """32 quick clicks, half of them on another product, from a browser with or without a basket."""
    browser, other = Client(), make_product("Lake")
    browser.get(product.get_absolute_url())  # the form's CSRF cookie
    if not is_new:
        browser.post(f"/basket/{product.pk}/")

    def click(number):
        window = Client()
        window.cookies.update(browser.cookies)
        try:
            answer = window.post(f"/basket/{(product, other)[number % 2].pk}/")
            return answer.status_code, answer.cookies["visitor"].value
        finally:
            connection.close()

    with ThreadPoolExecutor(16) as fingers:
        answers = set(fingers.map(click, range(32)))

    ((status, visitor),) = answers
    assert status == 302
    browser.cookies["visitor"] = visitor
    shown = Shown(browser.get("/basket/").content.decode())
    assert shown.lines == {"Mountain": 16 if is_new else 17, "Lake": 16}


def test_there_are_never_more_than_fit(put, basket, product):
    put(product, 98)
    for _ in range(3):
        put(product)

    assert basket().lines == {"Mountain": 99}


def test_looking_around_makes_no_rows(client, product):
    for path in ("/", product.get_absolute_url(), "/basket/", "/purchases/"):
        client.get(path)

    assert not BasketLine.objects.exists()
    assert "visitor" not in client.cookies


def test_the_basket_is_kept_by_no_cache(client, put, product):
    put(product)

    assert "no-store" in client.get("/basket/")["Cache-Control"]


def test_the_basket_asks_the_database_no_more_for_twelve_kinds_than_for_one(
    put, basket, make_product
):
    put(make_product())
    with CaptureQueriesContext(connection) as for_one:
        basket()
    for number in range(11):
        put(make_product(f"Number {number}"))

    with CaptureQueriesContext(connection) as for_twelve:
        assert len(basket().lines) == 12

    assert len(for_twelve) == len(for_one) <= 4

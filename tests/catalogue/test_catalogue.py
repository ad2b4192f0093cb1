import gzip
import re
from html import unescape
from pathlib import Path
from unittest import mock
from urllib.parse import urljoin

import pytest
from django.contrib.staticfiles.finders import find
from django.core.cache import cache
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from catalogue import pagination
from catalogue.folding import fold
from catalogue.pagination import PRODUCTS_PER_PAGE
from payments.models import Category, Picture, Product
from tests.conftest import RATE


def titles(response) -> list[str]:
    """The titles in the catalogue, from left to right and from top to bottom."""
    page = response.content.decode()
    return [unescape(title) for title in re.findall(r'class="card-title">(.*?)</span>', page)]


def test_an_empty_catalogue_says_so(catalogue, db):
    assert "The catalogue is still empty." in catalogue().content.decode()


def test_the_newest_product_stands_first(catalogue, make_product):
    for title in ("Oldest", "Middle", "Newest"):
        make_product(title)

    assert titles(catalogue()) == ["Newest", "Middle", "Oldest"]


def test_a_product_that_is_not_active_is_nowhere(client, catalogue, make_product):
    make_product("Sold")
    hidden = make_product("Hidden", active=False)

    page = client.get(hidden.get_absolute_url())

    assert titles(catalogue()) == ["Sold"]
    assert titles(catalogue(q="Hidden")) == []
    assert page.status_code == 404


def test_an_unknown_product_is_not_found(client, db):
    assert client.get("/products/nobody-made-it/").status_code == 404


def follow(client, response, rel):
    """The page behind the link, None if there is none."""
    found = re.search(rf'rel="{rel}" href="([^"]+)"', response.content.decode())
    return client.get(urljoin(response.request["PATH_INFO"], unescape(found[1]))) if found else None


def leafed(client, path) -> list[list[str]]:
    """The titles of each page, from the first to the last."""
    page, pages = client.get(path), []
    while page is not None:
        pages.append(titles(page))
        page = follow(client, page, "next")
    return pages


SORTS = {
    "newest": lambda product: (-product.created_at.timestamp(), -product.pk),
    "price": lambda product: (product.price, product.pk),
    "-price": lambda product: (-product.price, -product.pk),
    "title": lambda product: (fold(product.title), product.pk),
}


@pytest.mark.parametrize("sort", SORTS)
def test_each_order_shows_each_product_once(client, make_product, sort):
    for number in range(2 * PRODUCTS_PER_PAGE + 3):
        # Equal prices and titles, in both cases, and one moment for all: only the number differs.
        make_product("bA"[number % 2] * (number % 5 + 1), price=str(number % 3 + 1))
    Product.objects.filter(pk__gt=Product.objects.first().pk - 9).update(created_at=timezone.now())

    pages = leafed(client, f"/?sort={sort}")

    ordered = sorted(Product.objects.all(), key=SORTS[sort])
    assert [title for page in pages for title in page] == [product.title for product in ordered]
    assert [len(page) for page in pages] == [PRODUCTS_PER_PAGE, PRODUCTS_PER_PAGE, 3]


def test_the_way_back_leads_over_the_same_pages(client, catalogue, make_product):
    for number in range(2 * PRODUCTS_PER_PAGE + 1):
        make_product(f"Number {number}", price=str(number % 3 + 1))

    first = catalogue(sort="price")
    second = follow(client, first, "next")
    third = follow(client, second, "next")

    assert len(titles(third)) == 1
    assert follow(client, first, "prev") is None
    assert follow(client, third, "next") is None
    assert titles(follow(client, third, "prev")) == titles(second)
    again = follow(client, follow(client, third, "prev"), "prev")
    assert titles(again) == titles(first)
    assert follow(client, again, "prev") is None


@pytest.mark.parametrize("name", ["after", "before"])
@pytest.mark.parametrize("place", ["0", "-1", "999999", "9" * 30, "two", "", "\0", "１", "1 OR 1"])
def test_a_page_that_does_not_exist_is_the_first(catalogue, make_product, name, place):
    make_product()

    assert titles(catalogue(**{name: place, "sort": "price"})) == ["Mountain"]


@pytest.mark.parametrize("sort", ["match", "created_at", "-", "\0", "x" * 5_000])
def test_an_order_that_does_not_exist_is_the_usual_one(catalogue, make_product, sort):
    make_product("Older", price="1")
    make_product("Newer", price="2")

    assert titles(catalogue(sort=sort)) == ["Newer", "Older"]


def test_a_page_begins_after_a_product_that_is_no_longer_on_sale(client, catalogue, make_product):
    for number in range(PRODUCTS_PER_PAGE + 1):
        make_product(f"Number {number}")
    first = catalogue()
    Product.objects.filter(title="Number 1").update(active=False)

    assert titles(follow(client, first, "next")) == ["Number 0"]


@pytest.mark.parametrize(
    ("sort", "index"),
    [
        ("newest", "products_by_age"),
        ("price", "products_by_price"),
        ("-price", "products_by_price"),
        ("title", "products_by_folded_title"),
    ],
)
def test_no_page_is_sorted_or_skipped_through(db, sort, index):
    Product.objects.bulk_create(
        Product(title=f"Row {number}", slug=f"row-{number}", price=number + 1)
        for number in range(500)
    )
    middle = Product.objects.get(title="Row 250")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")

    with CaptureQueriesContext(connection) as asked:
        pagination.page(Product.objects.on_sale(), pagination.sorts("")[sort], after=str(middle.pk))

    query = asked[-1]["sql"]
    explain = "EXPLAIN QUERY PLAN" if connection.vendor == "sqlite" else "EXPLAIN"
    with connection.cursor() as cursor:
        cursor.execute(f"{explain} {query}".replace("%", "%%"))
        plan = " ".join(str(row) for row in cursor.fetchall())
    assert index in plan
    assert "TEMP B-TREE" not in plan and "Sort" not in plan
    assert "COUNT" not in query and "OFFSET" not in query


# Categories


@pytest.fixture
def wallpapers(db):
    return Category.objects.create(title="Wallpapers", slug="wallpapers")


def test_a_category_shows_its_own_products(client, catalogue, make_product, wallpapers):
    make_product("Mountain", category=wallpapers)
    make_product("Bell")

    assert titles(client.get("/categories/wallpapers/")) == ["Mountain"]
    assert titles(catalogue()) == ["Bell", "Mountain"]
    assert client.get("/categories/nobody-made-it/").status_code == 404


def test_only_categories_with_something_on_sale_are_offered(catalogue, make_product, wallpapers):
    empty = Category.objects.create(title="Empty", slug="empty")
    make_product("Hidden", category=empty, active=False)
    make_product("Mountain", category=wallpapers)

    page = catalogue().content.decode()

    assert 'href="/categories/wallpapers/"' in page
    assert "Empty" not in page


def test_search_order_and_pages_stay_within_the_category(client, make_product, wallpapers):
    for number in range(PRODUCTS_PER_PAGE + 1):
        make_product(f"Snow {number}", price=str(number + 1), category=wallpapers)
    make_product("Snow elsewhere", price="0.50")
    make_product("Sand", price="0.50", category=wallpapers)

    first, second = leafed(client, "/categories/wallpapers/?q=snow&sort=price")

    assert first == [f"Snow {number}" for number in range(PRODUCTS_PER_PAGE)]
    assert second == [f"Snow {PRODUCTS_PER_PAGE}"]


def test_a_product_outlives_its_category(client, make_product, wallpapers):
    product = make_product(category=wallpapers)

    wallpapers.delete()

    assert client.get(product.get_absolute_url()).status_code == 200


# Prices


@pytest.mark.parametrize(
    ("price", "shown"),
    [("10.00", "10.00 USD"), ("0.90", "0.90 USD"), ("1234567.50", "1,234,567.50 USD")],
)
def test_prices_have_two_digits_and_a_currency(client, catalogue, make_product, price, shown):
    product = make_product(price=price)

    # The space does not break, so that the currency stays with its number.
    unbroken = shown.replace(" ", "\u00a0")

    assert f">{unbroken}<" in catalogue().content.decode()
    assert f">{unbroken}<" in client.get(product.get_absolute_url()).content.decode()


def test_what_a_merchant_writes_is_text_and_no_markup(client, catalogue, make_product):
    attack = '<script>alert("1")</script>'
    product = make_product(attack, description=f"First\n\n{attack}<img src=x onerror=alert(2)>")

    pages = [
        catalogue().content.decode(),
        catalogue(q=attack).content.decode(),
        client.get(product.get_absolute_url()).content.decode(),
    ]

    for page in pages:
        assert "<script>alert" not in page
        assert "<img src=x" not in page
        assert "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;" in page


def test_empty_lines_make_paragraphs(client, make_product):
    product = make_product(description="First.\n\nSecond.")

    page = client.get(product.get_absolute_url()).content.decode()

    assert "<p>First.</p>" in page
    assert "<p>Second.</p>" in page


# What it costs


@pytest.fixture
def full_catalogue(make_product, make_picture, wallpapers):
    for number in range(PRODUCTS_PER_PAGE + 1):
        product = make_product(
            f"Mountain number {number} at dawn", category=wallpapers, description="Snow. " * 50
        )
        if number < 3:
            make_picture(product)
    # Rows alone, as if of the largest size: making the files of all would only take time.
    pictures = list(Picture.objects.all())
    for product in Product.objects.filter(pictures=None):
        name = f"products/mountain-{product.pk:08x}.jpg"
        pictures.append(Picture(product=product, image=name, width=1920, height=1080))
    with mock.patch.object(Picture._meta.get_field("image"), "update_dimension_fields"):
        Picture.objects.bulk_create(picture for picture in pictures if picture.pk is None)


def test_a_full_catalogue_asks_no_more_than_eight_questions(
    client, full_catalogue, django_assert_max_num_queries
):
    client.post(f"/basket/{Product.objects.first().pk}/")  # a session and a basket as well
    last = Product.objects.order_by("-pk").first().pk

    with django_assert_max_num_queries(8):
        assert len(titles(client.get("/"))) == PRODUCTS_PER_PAGE
    with django_assert_max_num_queries(8):
        page = client.get(f"/categories/wallpapers/?q=mountain&sort=price&before={last}")
        assert len(titles(page)) == PRODUCTS_PER_PAGE


def test_a_full_catalogue_is_small_on_the_wire(client, full_catalogue):
    cache.set("blockonomics-price-USD", RATE)
    page = client.get("/", headers={"accept-encoding": "identity"}).content
    assert titles(client.get("/")) and page.count(b"srcset") == 2 * PRODUCTS_PER_PAGE
    own = set(re.findall(r'(?:href|src)="/static/([^"]+\.(?:css|js|svg))"', page.decode()))
    files = [Path(find(name)).read_bytes() for name in own]

    sent = sum(len(gzip.compress(content, 6)) for content in (page, *files))

    assert len(own) >= 2
    assert sent <= 30 * 1024


def test_the_catalogue_is_only_looked_at(client, product):
    assert client.post("/").status_code == 405
    assert client.post(product.get_absolute_url()).status_code == 405

import re
from html import unescape
from urllib.parse import quote

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from payments.views.browsing import PRODUCTS_PER_PAGE


def titles(response) -> list[str]:
    """The titles on the shelf, from left to right and from top to bottom."""
    page = response.content.decode()
    return [unescape(title) for title in re.findall(r'class="card-title">(.*?)</span>', page)]


@pytest.fixture
def shelf(client):
    def look(**query):
        response = client.get("/", query)
        assert response.status_code == 200
        return response

    return look


def test_an_empty_shelf_says_so(shelf, db):
    assert "The shelf is still empty." in shelf().content.decode()


def test_the_newest_product_stands_first(shelf, make_product):
    for title in ("Oldest", "Middle", "Newest"):
        make_product(title)

    assert titles(shelf()) == ["Newest", "Middle", "Oldest"]


def test_a_product_that_is_not_active_is_nowhere(client, shelf, make_product):
    make_product("Sold")
    hidden = make_product("Hidden", active=False)

    page = client.get(hidden.get_absolute_url())

    assert titles(shelf()) == ["Sold"]
    assert titles(shelf(q="Hidden")) == []
    assert page.status_code == 404


def test_an_unknown_product_is_not_found(client, db):
    assert client.get("/products/nobody-made-it/").status_code == 404


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("snow", ["Mountain", "Lake"]),
        ("SNOW", ["Mountain", "Lake"]),
        ("mount", ["Mountain"]),
        ("snow mountain", ["Mountain"]),
        ("mountain snow", ["Mountain"]),
        ("  lake   ", ["Lake"]),
        ("mountain lake", []),
        ("%", []),
        ("_", []),
        ("", ["Mountain", "Lake", "Forest"]),
    ],
)
def test_all_words_are_searched_in_title_and_description(shelf, make_product, words, found):
    make_product("Forest", description="green")
    make_product("Lake", description="with snow around it")
    make_product("Mountain", description="covered by snow")

    assert titles(shelf(q=words)) == found


def test_a_percent_sign_is_searched_as_it_is(shelf, make_product):
    make_product("Half")
    make_product("50 % more")

    assert titles(shelf(q="%")) == ["50 % more"]


def test_one_who_finds_nothing_is_led_back(shelf, make_product):
    make_product()

    page = shelf(q="elephant").content.decode()

    assert "Nothing on the shelf matches." in page
    assert "See everything." in page


def test_the_shelf_has_pages(shelf, make_product):
    for number in range(PRODUCTS_PER_PAGE + 1):
        make_product(f"Number {number}")

    first, second = shelf(), shelf(page=2)

    assert len(titles(first)) == PRODUCTS_PER_PAGE
    assert titles(second) == ["Number 0"]
    assert "Page 1 of 2" in first.content.decode()
    assert 'rel="prev"' not in first.content.decode()
    assert 'rel="next"' not in second.content.decode()


@pytest.mark.parametrize("words", ["Number", "a&b=c", "50 %", 'say "hi"', "Käse/Brot + 1"])
def test_the_pages_keep_the_search_words(client, shelf, make_product, words):
    for number in range(PRODUCTS_PER_PAGE + 1):
        make_product(f"{number}. {words}")
    make_product("Something else")

    link = re.search(r'rel="next" href="([^"]+)"', shelf(q=words).content.decode())[1]
    second = client.get("/" + unescape(link))

    assert titles(second) == [f"0. {words}"]
    assert f"q={quote(words)}" in unescape(
        re.search(r'rel="prev" href="([^"]+)"', second.content.decode())[1]
    )


@pytest.mark.parametrize("page", ["0", "-1", "99", "9" * 30, "two", "", "\0", "１"])
def test_a_page_that_does_not_exist_becomes_one_that_does(shelf, make_product, page):
    make_product()

    assert titles(shelf(page=page)) == ["Mountain"]


@pytest.mark.parametrize(
    "words",
    [
        "\0",
        "mountain\0",
        "x" * 10_000,
        "a " * 5_000,
        "'",
        '"',
        "%",
        "%%%",
        "_",
        "\\",
        "'; DROP TABLE payments_product; --",
        "<script>alert(1)</script>",
        "{{ 7|add:7 }}",
        "\u202e\U0001f3d4\ufffd",
    ],
    ids=lambda words: ascii(words)[:20],
)
def test_hostile_words_are_only_words(shelf, make_product, words):
    make_product("Untouched")

    page = shelf(q=words).content.decode()

    assert "<script>alert" not in page
    assert titles(shelf()) == ["Untouched"]


def test_bytes_that_are_no_text_are_only_words(client, db):
    assert client.get("/?q=%ff%fe%00").status_code == 200


@pytest.mark.parametrize(
    ("price", "shown"),
    [("10.00", "10.00 USD"), ("0.90", "0.90 USD"), ("1234567.50", "1,234,567.50 USD")],
)
def test_prices_have_two_digits_and_a_currency(client, shelf, make_product, price, shown):
    product = make_product(price=price)

    # The space does not break, so that the currency stays with its number.
    unbroken = shown.replace(" ", "\u00a0")

    assert f">{unbroken}<" in shelf().content.decode()
    assert f">{unbroken}<" in client.get(product.get_absolute_url()).content.decode()


def test_what_a_merchant_writes_is_text_and_no_markup(client, shelf, make_product):
    attack = '<script>alert("1")</script>'
    product = make_product(attack, description=f"First\n\n{attack}<img src=x onerror=alert(2)>")

    pages = [
        shelf().content.decode(),
        shelf(q=attack).content.decode(),
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


def test_a_full_shelf_asks_the_database_no_more_than_one_product_does(shelf, make_product):
    make_product()
    with CaptureQueriesContext(connection) as for_one:
        shelf()
    for _ in range(PRODUCTS_PER_PAGE - 1):
        make_product()

    with CaptureQueriesContext(connection) as for_a_page:
        response = shelf()

    assert len(titles(response)) == PRODUCTS_PER_PAGE
    assert len(for_a_page) == len(for_one) <= 2


def test_the_shelf_is_only_looked_at(client, product):
    assert client.post("/").status_code == 405
    assert client.post(product.get_absolute_url()).status_code == 405

"""Search: PostgreSQL's full text, and the same in plain where there is none."""

import re
from html import unescape

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from catalogue.pagination import PRODUCTS_PER_PAGE
from payments.models import Product
from tests.catalogue.test_catalogue import titles

postgresql = pytest.mark.skipif(
    connection.vendor != "postgresql", reason="PostgreSQL's full text search"
)


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
def test_all_words_are_searched_in_title_and_description(catalogue, make_product, words, found):
    make_product("Forest", description="green")
    make_product("Lake", description="with snow around it")
    make_product("Mountain", description="covered by snow")

    assert titles(catalogue(q=words)) == found


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("mou", ["Mountain"]),
        ("mo", []),
        ("mo snow", []),
        ("xl", ["Shirt XL"]),
        ("x", []),
        ("shi xl", ["Shirt XL"]),
        ("7", ["Number 7"]),
        ("7 number", ["Number 7"]),
    ],
)
def test_less_than_three_letters_are_a_whole_word(catalogue, make_product, words, found):
    make_product("Number 7")
    make_product("Number 77")
    make_product("Shirt XL")
    make_product("Mountain", description="covered by snow")

    assert titles(catalogue(q=words)) == found


@pytest.mark.parametrize(
    ("words", "title"),
    [
        *[("The Who", "The Who"), ("it", "It"), ("just", "Just so"), ("and", "And then")],
        *[("übungsheft", "Übungsheft"), ("ÜBUNG", "Übungsheft"), ("ubung", "Übungsheft")],
        *[("красный", "Красный мак"), ("МАК", "Красный мак"), ("straße", "STRASSE")],
        *[("ποίηση", "ΠΟΊΗΣΗ"), ("שלום", "שלום עולם"), ("café", "CAFÉ")],
    ],
)
def test_no_word_of_any_language_is_lost(catalogue, make_product, words, title):
    for each in ("The Who", "It", "Just so", "And then", "Übungsheft", "Красный мак", "STRASSE"):
        make_product(each)
    for each in ("ΠΟΊΗΣΗ", "שלום עולם", "CAFÉ"):
        make_product(each)

    assert titles(catalogue(q=words)) == [title]
    make_product("Something else", description=f"about {title}")
    assert titles(catalogue(q=words)) == [title, "Something else"]


def test_the_desk_finds_them_as_well(admin_client, make_product):
    make_product("Übungsheft")
    make_product("Красный мак")

    for words, title in (("übung", "Übungsheft"), ("красный", "Красный мак")):
        found = admin_client.get("/admin/catalogue/product/", {"q": words}).context["cl"]
        assert [product.title for product in found.result_list] == [title]


def test_titles_are_sorted_as_people_read_them(catalogue, make_product):
    given = ["zebra", "Übung", "apple", "Äpfel", "Zoo", "ünder", "красный", "Белый"]
    for title in given:
        make_product(title)

    assert titles(catalogue(sort="title")) == [
        *["Äpfel", "apple", "Übung", "ünder", "zebra", "Zoo", "Белый", "красный"]
    ]


def test_a_new_title_is_found_at_once(catalogue, product):
    product.title = "Ölberg"
    product.save()

    assert titles(catalogue(q="ölberg")) == ["Ölberg"]
    assert titles(catalogue(q="mountain")) == []


def test_a_percent_sign_is_searched_as_it_is(catalogue, make_product):
    make_product("Half")
    make_product("50 % more")

    assert titles(catalogue(q="%")) == ["50 % more"]


def test_one_who_finds_nothing_is_led_back(catalogue, make_product):
    make_product()

    page = catalogue(q="elephant").content.decode()

    assert "Nothing in the catalogue matches." in page
    assert "See everything." in page


@pytest.mark.parametrize("words", ["Number", "a&b=c", "50 %", 'say "hi"', "Käse/Brot + 1"])
def test_the_pages_keep_the_search_words(client, catalogue, make_product, words):
    for number in range(PRODUCTS_PER_PAGE + 1):
        make_product(f"{number}. {words}")
    make_product("Something else")

    link = re.search(r'rel="next" href="([^"]+)"', catalogue(q=words).content.decode())[1]
    second = client.get("/" + unescape(link))

    assert titles(second) == [f"0. {words}"]
    assert 'rel="prev"' in second.content.decode()


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
        "'; DROP TABLE catalogue_product; --",
        "<script>alert(1)</script>",
        "{{ 7|add:7 }}",
        "\u202e\U0001f3d4\ufffd",
    ],
    ids=lambda words: ascii(words)[:20],
)
def test_hostile_words_are_only_words(catalogue, make_product, words):
    make_product("Untouched")

    page = catalogue(q=words).content.decode()

    assert "<script>alert" not in page
    assert titles(catalogue()) == ["Untouched"]


def test_bytes_that_are_no_text_are_only_words(client, db):
    assert client.get("/?q=%ff%fe%00").status_code == 200


OPERATORS = ["&", "|", "!", ":*", "<->", "-", "--", '"', "' & '", "(", "or", "OR", "-or", "\\\\"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_operators_in_any_place_are_no_errors(catalogue, make_product, operator):
    make_product("Mountain")

    for words in (operator, f"{operator}mountain", f"mountain{operator}", f"a {operator} b"):
        for sort in ("match", "price"):
            catalogue(q=words, sort=sort)


def test_the_best_match_stands_first(catalogue, make_product):
    make_product("Lake")
    make_product("Forest", description="There is a lake behind it.")

    assert titles(catalogue(q="lake")) == ["Lake", "Forest"]
    assert titles(catalogue(q="lake", sort="newest")) == ["Forest", "Lake"]


def test_the_best_matches_have_pages(client, make_product):
    for number in range(PRODUCTS_PER_PAGE + 4):
        make_product(f"{number}" if number % 2 else f"Lake {number}", description="A lake.")

    first = client.get("/?q=lake")
    link = re.search(r'rel="next" href="([^"]+)"', first.content.decode())[1]
    found = titles(first) + titles(client.get("/" + unescape(link)))

    assert sorted(found) == sorted(Product.objects.values_list("title", flat=True))
    assert [title.startswith("Lake") for title in found] == sorted(
        [title.startswith("Lake") for title in found], reverse=True
    )


@postgresql
@pytest.mark.parametrize("words", ["lakes", '"quiet lake"', "lake -forest", "moon or lake"])
def test_words_are_read_as_a_search_engine_does(catalogue, make_product, words):
    make_product("Forest", description="A lake that is quiet.")
    make_product("A Quiet Lake")

    assert "A Quiet Lake" in titles(catalogue(q=words))
    if words != "lakes" and "or" not in words.split():
        assert titles(catalogue(q=words)) == ["A Quiet Lake"]


@postgresql
def test_the_index_is_used(make_product):
    Product.objects.bulk_create(
        Product(title=f"Row {number}", slug=f"row-{number}", price=1, description=f"of {number}")
        for number in range(3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE catalogue_product")

    with CaptureQueriesContext(connection) as asked:
        list(Product.objects.on_sale().matching("2999"))

    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + asked[-1]["sql"].replace("%", "%%"))
        plan = " ".join(row[0] for row in cursor.fetchall())
    assert "products_by_folded_words" in plan

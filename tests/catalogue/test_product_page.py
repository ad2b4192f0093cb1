import json
import re
from html import unescape

import pytest

from payments.models import Category

PAGE = "/products/product-1/"


@pytest.fixture
def look(client):
    """A page of the shop, as text."""

    def look(path):
        response = client.get(path)
        assert response.status_code == 200
        return response.content.decode()

    return look


@pytest.fixture
def prints(db):
    return Category.objects.create(title="Prints", slug="prints")


def data(page: str) -> dict:
    """What the page tells a program of its product."""
    (text,) = re.findall(r'<script type="application/ld\+json">(.*?)</script>', page, re.DOTALL)
    return json.loads(text)


def meta(page: str) -> dict[str, str]:
    found = re.findall(r'<meta (?:name|property)="([^"]+)" content="([^"]*)">', page)
    return {name: unescape(content) for name, content in found}


# Stock


def test_a_product_without_a_limit_says_nothing_of_stock(look, make_product):
    make_product()

    assert "stock" not in look(PAGE)
    assert 'action="/payments/create/' in look(PAGE)


@pytest.mark.parametrize(("stock", "line"), [(1, "Only one left."), (7, "7 in stock.")])
def test_what_is_left_is_told(look, make_product, stock, line):
    make_product(stock=stock)

    assert line in look(PAGE)
    assert 'action="/payments/create/' in look(PAGE)


def test_what_is_sold_out_cannot_be_bought(look, make_product):
    make_product(stock=0)

    page = look(PAGE)

    assert "Sold out." in page
    assert 'action="/payments/create/' not in page
    assert 'action="/basket/' not in page
    assert "Sold out" in look("/")
    assert data(page)["offers"]["availability"] == "https://schema.org/SoldOut"


# Others like it


def test_others_of_the_category_are_shown_the_newest_first(look, make_product, prints):
    make_product("This one", category=prints)
    make_product("Elsewhere")
    make_product("Hidden", category=prints, active=False)
    for number in range(5):
        make_product(f"Other {number}", category=prints)

    page = look(PAGE)

    related = page[page.index('class="related"') :]
    assert "More from Prints" in related
    assert re.findall(r'"card-title">(.*?)<', related) == [f"Other {n}" for n in (4, 3, 2, 1)]
    assert 'href="/categories/prints/"' in page


@pytest.mark.parametrize("category", [True, False])
def test_one_alone_in_its_category_or_in_none_is_shown_alone(look, make_product, prints, category):
    make_product(category=prints if category else None)
    make_product()

    assert 'class="related"' not in look(PAGE)


def test_a_page_asks_no_more_than_eight_questions(
    client, make_product, make_picture, prints, django_assert_max_num_queries
):
    products = [make_product(category=prints) for _ in range(5)]
    for product in products:
        make_picture(product, size=(32, 18))
        make_picture(product, size=(32, 18))
    client.post(f"/basket/{products[0].pk}/")

    with django_assert_max_num_queries(8):
        page = client.get(PAGE)

    assert page.content.count(b"<img") == 2 + 4


# For programs


def test_search_engines_and_messengers_read_what_it_is(look, make_product, make_picture, prints):
    product = make_product(
        "Mountain & Sea", price="7.50", description="First.\n\nSecond.", category=prints
    )
    picture = make_picture(product, alt="A mountain")

    page = look(PAGE)

    site = "http://127.0.0.1:8000"
    image = f"{site}{picture.url}"
    assert data(page) == {
        "@context": "https://schema.org",
        "@type": "Product",
        "name": "Mountain & Sea",
        "description": "First. Second.",
        "sku": "product-1",
        "category": "Prints",
        "url": f"{site}{PAGE}",
        "image": [image],
        "offers": {
            "@type": "Offer",
            "url": f"{site}{PAGE}",
            "price": "7.50",
            "priceCurrency": "USD",
            "availability": "https://schema.org/InStock",
        },
    }
    told = meta(page)
    assert told["description"] == told["og:description"] == "First. Second."
    assert (told["og:type"], told["og:title"]) == ("product", "Mountain & Sea")
    assert (told["og:url"], told["og:image"]) == (f"{site}{PAGE}", image)
    assert told["product:price:amount"] == "7.50"
    assert f'<link rel="canonical" href="{site}{PAGE}">' in page


@pytest.mark.parametrize(
    "attack",
    [
        "</script><script>alert(1)</script>",
        "<!--<script>",
        '"},{"@type":"Offer',
        "\u2028\u2029]]>&quot;",
    ],
)
def test_no_text_leaves_its_place_in_the_data(look, make_product, attack):
    make_product(attack, description=attack)

    page = look(PAGE)

    assert data(page)["name"] == attack
    assert data(page)["description"] == attack.strip()
    assert "<script>" not in page and "<!--" not in page
    assert meta(page)["og:title"] == attack


@pytest.mark.parametrize(
    ("path", "is_found"),
    [("/", True), ("/?q=snow", False), ("/?sort=price", False), ("/?after=1", False)],
)
def test_only_the_plain_catalogue_is_for_search_engines(look, make_product, path, is_found):
    make_product()

    page = look(path)

    assert ('<link rel="canonical" href="http://127.0.0.1:8000/">' in page) == is_found
    assert ("noindex" in page) != is_found

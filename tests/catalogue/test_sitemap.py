import re

import pytest
from django.test import Client

from catalogue.sitemaps import SITEMAP_SECONDS, OurSitemap
from payments.models import Category


def addresses(response) -> list[str]:
    assert response.headers["Content-Type"] == "application/xml"
    return re.findall(r"<loc>(.*?)</loc>", response.content.decode())


@pytest.fixture
def listed(client, settings):
    """The pages of all files of the sitemap."""

    def listed(**headers):
        files = addresses(client.get("/sitemap.xml", headers=headers))
        return [
            page
            for file in files
            for page in addresses(client.get(file.removeprefix(settings.SITE_URL)))
        ]

    return listed


def test_the_sitemap_lists_what_may_be_found(listed, make_product, settings):
    used = Category.objects.create(title="Used", slug="used")
    Category.objects.create(title="Unused", slug="unused")
    make_product(category=used)
    make_product()
    make_product(active=False)

    assert sorted(listed(host="localhost")) == [
        f"{settings.SITE_URL}/",
        f"{settings.SITE_URL}/categories/used/",
        f"{settings.SITE_URL}/products/product-1/",
        f"{settings.SITE_URL}/products/product-2/",
    ]


def test_an_empty_shop_has_a_sitemap(listed, db, settings):
    assert listed() == [f"{settings.SITE_URL}/"]


def test_the_files_of_the_sitemap_keep_their_addresses(client, db, settings):
    assert addresses(client.get("/sitemap.xml")) == [
        f"{settings.SITE_URL}/sitemap-{section}.xml"
        for section in ("shelf", "categories", "products")
    ]


def test_every_address_answers(client, listed, make_product, settings):
    make_product(category=Category.objects.create(title="Used", slug="used"))

    for address in listed():
        assert client.get(address.removeprefix(settings.SITE_URL)).status_code == 200


def test_a_long_catalogue_is_listed_in_several_files(
    client, listed, make_product, settings, monkeypatch
):
    monkeypatch.setattr(OurSitemap, "limit", 2)
    for _ in range(5):
        make_product()

    files = [file for file in addresses(client.get("/sitemap.xml")) if "products" in file]

    products = f"{settings.SITE_URL}/sitemap-products.xml"
    assert files == [products, f"{products}?p=2", f"{products}?p=3"]
    assert [page.rpartition("product-")[2] for page in listed() if "/product-" in page] == [
        f"{number}/" for number in range(1, 6)
    ]


def test_files_of_the_sitemap_that_are_not_there_are_not_found(client, db):
    for page in ("2", "0", "x", "9" * 30):
        assert client.get("/sitemap-products.xml", {"p": page}).status_code == 404
    assert client.get("/sitemap-baskets.xml").status_code == 404


def test_many_products_cost_no_more_questions(client, make_product, django_assert_max_num_queries):
    for _ in range(20):
        make_product()

    with django_assert_max_num_queries(8):
        client.get("/sitemap.xml")
    with django_assert_max_num_queries(8):
        client.get("/sitemap-products.xml")


def test_whatever_else_is_asked_for_is_the_same_file_and_kept_once(client, db, caches_in_memory):
    for number in range(50):
        for path in ("/sitemap.xml", "/sitemap-shelf.xml"):
            assert client.get(path, {"x": number}).status_code == 200

    assert caches_in_memory("strangers") == {"sitemap", "sitemap-shelf-1"}


@pytest.mark.parametrize("path", ["/sitemap.xml", "/sitemap-products.xml"])
def test_for_some_minutes_the_same_answer_is_given_to_everybody(
    client, product, path, django_assert_num_queries
):
    client.post(f"/basket/{product.pk}/")
    first = client.get(path)

    with django_assert_num_queries(0):
        second = Client().get(path)

    assert second.content == first.content
    assert second.headers["Cache-Control"] == f"max-age={SITEMAP_SECONDS}"
    assert not second.cookies
    assert "Cookie" not in second.headers.get("Vary", "")


def test_robots_are_told_what_is_private(client, settings):
    response = client.get("/robots.txt")

    lines = response.content.decode().splitlines()
    assert response.headers["Content-Type"].startswith("text/plain")
    assert lines[0] == "User-agent: *"
    for path in ("/payments/create/", "/payments/callback/", "/basket/", "/admin/", "/sandbox/"):
        assert f"Disallow: {path}" in lines
    assert f"Sitemap: {settings.SITE_URL}/sitemap.xml" in lines


def test_robots_may_read_that_an_invoice_is_not_to_be_listed(client, invoice):
    """Who may not fetch a page does not see its `noindex`, and lists it by the links to it."""
    lines = client.get("/robots.txt").content.decode().splitlines()
    forbidden = [line.removeprefix("Disallow: ") for line in lines if line.startswith("Disallow")]
    page = invoice.get_absolute_url()

    assert not page.startswith(tuple(forbidden))
    assert client.get(page).headers["X-Robots-Tag"] == "noindex"

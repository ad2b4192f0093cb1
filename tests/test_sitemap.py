import re

from payments.models import Category


def addresses(response) -> list[str]:
    return re.findall(r"<loc>(.*?)</loc>", response.content.decode())


def test_the_sitemap_lists_what_may_be_found(client, make_product, settings):
    used = Category.objects.create(title="Used", slug="used")
    Category.objects.create(title="Unused", slug="unused")
    make_product(category=used)
    make_product()
    make_product(active=False)

    response = client.get("/sitemap.xml", headers={"host": "localhost"})

    assert response.headers["Content-Type"] == "application/xml"
    assert sorted(addresses(response)) == [
        f"{settings.SITE_URL}/",
        f"{settings.SITE_URL}/categories/used/",
        f"{settings.SITE_URL}/products/product-1/",
        f"{settings.SITE_URL}/products/product-2/",
    ]


def test_an_empty_shop_has_a_sitemap(client, db, settings):
    assert addresses(client.get("/sitemap.xml")) == [f"{settings.SITE_URL}/"]


def test_every_address_answers(client, make_product, settings):
    make_product(category=Category.objects.create(title="Used", slug="used"))

    for address in addresses(client.get("/sitemap.xml")):
        assert client.get(address.removeprefix(settings.SITE_URL)).status_code == 200


def test_pages_of_a_long_sitemap_that_are_not_there_are_not_found(client, db):
    for page in ("2", "0", "x", "9" * 30):
        assert client.get("/sitemap.xml", {"p": page}).status_code == 404


def test_many_products_cost_no_more_questions(client, make_product, django_assert_max_num_queries):
    for _ in range(20):
        make_product()

    with django_assert_max_num_queries(8):
        client.get("/sitemap.xml")


def test_robots_are_told_what_is_private(client, settings):
    response = client.get("/robots.txt")

    lines = response.content.decode().splitlines()
    assert response.headers["Content-Type"].startswith("text/plain")
    assert lines[0] == "User-agent: *"
    for path in ("/payments/", "/basket/", "/admin/", "/sandbox/"):
        assert f"Disallow: {path}" in lines
    assert f"Sitemap: {settings.SITE_URL}/sitemap.xml" in lines

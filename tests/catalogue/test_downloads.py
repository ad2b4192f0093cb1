"""GET /payments/invoice/<key>/download/<line>/: the only way out for the goods."""

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import AsyncClient
from django.utils.http import content_disposition_header

from payments import checkout, ingestion
from payments.models import Line, Product
from tests.conftest import report

GOODS = b"a mountain, full size"


@pytest.fixture
def fetch(client):
    def fetch(invoice, line=None, key=None):
        line = line or invoice.lines.get().pk
        return client.get(f"/payments/invoice/{key or invoice.key}/download/{line}/")

    return fetch


def test_the_goods_flow_once_it_is_paid(fetch, invoice, call_back):
    call_back(invoice)

    response = fetch(invoice)

    assert response.status_code == 200
    assert response.getvalue() == GOODS
    assert response["Content-Disposition"] == 'attachment; filename="goods-1.txt"'
    assert response["Content-Length"] == str(len(GOODS))
    assert "no-store" in response["Cache-Control"]
    assert response["X-Content-Type-Options"] == "nosniff"


def test_before_that_the_door_is_a_404(fetch, invoice, call_back):
    assert fetch(invoice).status_code == 404
    call_back(invoice, status=0)
    assert fetch(invoice).status_code == 404
    call_back(invoice, status=1)
    assert fetch(invoice).status_code == 404
    call_back(invoice, number=2, value=1, status=2)
    assert fetch(invoice).status_code == 404


def test_another_invoices_key_opens_nothing(fetch, make_invoice, call_back):
    paid, other = make_invoice(), make_invoice()
    call_back(paid)
    call_back(other, number=2)

    assert fetch(paid, line=other.lines.get().pk).status_code == 404
    assert fetch(paid, key=other.key).status_code == 404
    assert fetch(paid, key="x" * 32).status_code == 404


def test_a_product_without_a_file_has_no_download(
    fetch, make_product, provider, service, call_back
):
    invoice = checkout.place_order([Line(make_product(file=None))], provider)
    call_back(invoice)

    assert fetch(invoice).status_code == 404


def test_what_was_bought_stays_whatever_is_sold_now(fetch, invoice, call_back):
    Product.objects.update(file="")
    call_back(invoice)

    assert fetch(invoice).getvalue() == GOODS


def test_a_lost_file_is_a_404_for_the_shopper_and_a_line_for_the_merchant(
    fetch, invoice, call_back, caplog
):
    call_back(invoice)
    file = Product.objects.get().file
    file.storage.delete(file.name)

    assert fetch(invoice).status_code == 404
    assert "not in the goods folder" in caplog.text


def test_no_public_folder_holds_the_goods(client, invoice, settings):
    file = Product.objects.get().file

    assert not file.path.startswith(str(settings.MEDIA_ROOT))
    assert client.get(f"{settings.MEDIA_URL}{file.name}").status_code == 404
    assert client.get(file.url)["Location"].startswith("/admin/login/")


def test_the_merchant_looks_at_the_file_from_the_desk(admin_client, invoice):
    response = admin_client.get(Product.objects.get().file.url)

    assert response.getvalue() == GOODS


def test_who_bought_it_keeps_it_when_it_is_off_sale(fetch, invoice, call_back):
    call_back(invoice)
    Product.objects.update(active=False)

    assert fetch(invoice).getvalue() == GOODS


@pytest.mark.django_db(transaction=True)
async def test_under_asgi_the_file_flows_in_chunks(big_purchase):
    url, size = big_purchase

    response = await AsyncClient().get(url)

    chunks = [len(chunk) async for chunk in response]
    assert sum(chunks) == size
    assert max(chunks) <= 256 * 1024
    response.file.close()


@pytest.fixture
def big_purchase(transactional_db, make_product, provider, service):
    size = 1_000_000
    lines = [Line(make_product(file=b"\0" * size))]
    invoice = checkout.place_order(lines, provider)
    ingestion.record_report(provider, report(invoice))
    return f"/payments/invoice/{invoice.key}/download/{invoice.lines.get().pk}/", size


# Parts of it, and by whom


@pytest.fixture
def bought(invoice, call_back):
    call_back(invoice)
    return f"/payments/invoice/{invoice.key}/download/{invoice.lines.get().pk}/"


PARTS = [
    ("bytes=0-3", 0, 4),
    ("bytes=5-", 5, len(GOODS)),
    ("bytes=-4", len(GOODS) - 4, len(GOODS)),
    ("bytes=20-999", 20, len(GOODS)),
    ("bytes=-999", 0, len(GOODS)),
]


@pytest.mark.parametrize(("asked", "start", "end"), PARTS)
def test_a_part_can_be_had(client, bought, asked, start, end):
    response = client.get(bought, headers={"Range": asked})

    assert response.getvalue() == GOODS[start:end]
    assert response["Content-Length"] == str(end - start)
    if end - start < len(GOODS):
        assert response.status_code == 206
        assert response["Content-Range"] == f"bytes {start}-{end - 1}/{len(GOODS)}"


@pytest.mark.parametrize("asked", ["bytes=0-1,3-4", "bytes=-", "lines=1-2", "bytes=9-3", "x", ""])
def test_what_is_no_range_asks_for_all_of_it(client, bought, asked):
    response = client.get(bought, headers={"Range": asked})

    assert (response.status_code, response.getvalue()) == (200, GOODS)


@pytest.mark.parametrize("asked", ["bytes=21-", "bytes=500-600", "bytes=-0"])
def test_what_is_not_there_is_said_to_be_so(client, bought, asked):
    response = client.get(bought, headers={"Range": asked})

    assert response.status_code == 416
    assert response["Content-Range"] == f"bytes */{len(GOODS)}"
    assert response.getvalue() == b""


@pytest.mark.parametrize("mark", ["ETag", "Last-Modified"])
def test_an_interrupted_download_goes_on_while_the_file_is_the_same(client, bought, mark):
    first = client.get(bought)
    assert (first["Accept-Ranges"], first.getvalue()) == ("bytes", GOODS)

    rest = client.get(bought, headers={"Range": "bytes=7-", "If-Range": first[mark]})
    assert (rest.status_code, rest.getvalue()) == (206, GOODS[7:])
    anew = client.get(bought, headers={"Range": "bytes=7-", "If-Range": '"another"'})
    assert (anew.status_code, anew.getvalue()) == (200, GOODS)


@pytest.mark.parametrize(
    ("headers", "noted"),
    [
        ({}, 1),
        ({"Range": "bytes=0-3"}, 0),
        ({"Range": "bytes=4-"}, 0),
        ({"Sec-Purpose": "prefetch"}, 0),
        ({"Sec-Purpose": "prefetch;prerender"}, 0),
        ({"Purpose": "prefetch"}, 0),
    ],
)
def test_only_who_gets_all_of_it_has_downloaded_it(client, bought, invoice, headers, noted):
    client.get(bought, headers=headers).getvalue()

    assert invoice.timeline.filter(kind="downloaded").count() == noted


@pytest.mark.parametrize("by", ["X-Accel-Redirect", "X-Sendfile"])
def test_a_proxy_may_send_the_file(client, bought, settings, by):
    settings.SENDFILE = by
    file = Product.objects.get().file

    response = client.get(bought)

    where = {"X-Accel-Redirect": f"/goods/{file.name}", "X-Sendfile": file.path}
    assert response[by] == where[by]
    assert response.content == b""
    assert response["Content-Disposition"] == 'attachment; filename="goods-1.txt"'
    file.storage.delete(file.name)
    assert client.get(bought).status_code == 404


NAMES = [
    "山" * 95 + ".jpg",
    "A picture (final) [2].JPG",
    "🏔️ summit.zip",
    "no ending",
    "..hidden",
    "é.tar.gz",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_may_be_called_as_the_merchant_likes(
    admin_client, client, provider, service, call_back, name
):
    form = {"title": "Bead", "slug": "bead", "price": "9.99", "active": "on"}
    form |= {"pictures-TOTAL_FORMS": 0, "pictures-INITIAL_FORMS": 0}
    upload = SimpleUploadedFile(name, GOODS)
    answer = admin_client.post("/admin/catalogue/product/add/", form | {"file": upload})
    assert answer.status_code == 302
    product = Product.objects.get()
    invoice = checkout.place_order([Line(product)], provider)
    call_back(invoice)

    response = client.get(f"{invoice.get_absolute_url()}download/{invoice.lines.get().pk}/")

    assert response.getvalue() == GOODS
    assert response["Content-Disposition"] == content_disposition_header(True, name)
    assert len(product.file.name) < 40 and product.file.name.isascii()
    assert product.file_name == name

"""GET /payments/invoice/<key>/download/<line>/: the only way out for the goods."""

import pytest
from django.test import AsyncClient

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

"""How much a page may weigh on the way to a phone: compressed bytes, files, and queries."""

import gzip
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings as conf
from django.contrib.staticfiles import finders
from django.utils import timezone

from payments.models import Invoice, Transaction

KILOBYTE = 1024
INVOICE_BUDGET = 14 * KILOBYTE
PRODUCT_LIST_BUDGET = 30 * KILOBYTE
STYLES_BUDGET = 5 * KILOBYTE
MAX_QUERIES = 9

STATIC = re.compile(r'(?:href|src)="/static/([^"]+\.(?:css|js))"')
IMPORT = re.compile(r'(?:@import|from) ?"([^"]+)"')


def compressed(content: bytes) -> int:
    return len(gzip.compress(content, mtime=0))


def files_of(page: str) -> list[bytes]:
    """The styles and scripts that the page loads, as they lie in the static folder."""
    names = dict.fromkeys(STATIC.findall(page))
    return [Path(finders.find(name)).read_bytes() for name in names]


def weigh(response) -> int:
    assert response.status_code == 200
    page = response.content
    return compressed(page) + sum(map(compressed, files_of(page.decode())))


@pytest.fixture
def states(make_invoice, call_back):
    """An invoice in every state, by its name."""
    now = timezone.now()
    made = {name: make_invoice() for name in ("waiting", "underpaid", "seen", "confirming", "paid")}
    made["expired"] = make_invoice(expires_at=now - timedelta(minutes=1))
    made["cancelled"] = make_invoice(cancelled_at=now, cancelled_by="shopper")
    made["valuing"] = make_invoice()
    made["everything"] = make_invoice(review="something")
    call_back(made["underpaid"], number=1, value=4_000)
    call_back(made["seen"], number=2, status=0, rbf=1)
    call_back(made["confirming"], number=3, status=1)
    call_back(made["paid"], number=4, value=30_000)
    call_back(made["valuing"], number=5, value=4_000)
    Transaction.objects.of(made["valuing"]).update(rate=None, late=True)
    for number in range(10, 13):
        call_back(made["everything"], number=number, value=1_000, status=0, rbf=1)
    Transaction.objects.of(made["everything"]).update(late=True)
    first = made["everything"].transactions[0]
    first.dropped_at = now
    first.save()
    return made


@pytest.mark.parametrize("language", [code for code, _ in conf.LANGUAGES])
def test_an_invoice_in_every_state_is_light(client, states, language):
    asked = {"Accept-Language": language}
    weights = {
        name: weigh(client.get(invoice.get_absolute_url(), headers=asked))
        for name, invoice in states.items()
    }

    assert {name: weight for name, weight in weights.items() if weight > INVOICE_BUDGET} == {}


def test_an_invoice_waits_for_few_files(client, states):
    for invoice in states.values():
        page = client.get(invoice.get_absolute_url()).content.decode()

        # Besides: the page, its icon, one question to the status door, and the merchant's colour.
        assert len(files_of(page)) <= 2


@pytest.mark.parametrize("name", ["shop.css"])
def test_the_styles_are_light(name):
    assert compressed(Path(finders.find(f"css/{name}")).read_bytes()) <= STYLES_BUDGET


def test_the_catalogue_is_light(client, make_product):
    for number in range(30):
        make_product(title=f"A picture called {number}", description="Some words. " * 30)

    assert weigh(client.get("/")) <= PRODUCT_LIST_BUDGET


def test_every_page_asks_the_database_little(
    client, states, make_product, django_assert_max_num_queries
):
    client.post(f"/basket/{make_product().pk}/")
    paths = ["/", "/basket/", "/products/product-1/"]
    paths += [invoice.get_absolute_url() for invoice in Invoice.objects.all()]
    paths += [f"{states['paid'].get_absolute_url()}receipt/"]
    for path in paths:
        with django_assert_max_num_queries(MAX_QUERIES, info=path):
            assert client.get(path).status_code == 200, path


def test_pages_travel_compressed(client, invoice):
    plain = client.get(invoice.get_absolute_url())
    packed = client.get(invoice.get_absolute_url(), headers={"accept-encoding": "gzip"})

    assert packed["Content-Encoding"] == "gzip"
    assert "Accept-Encoding" in packed["Vary"]
    assert len(packed.content) < len(plain.content) / 2
    assert b"Pay 10.00" in gzip.decompress(packed.content)


def test_goods_and_answers_to_programs_travel_as_they_are(client, invoice, call_back):
    call_back(invoice)
    door = invoice.get_absolute_url()

    for path in (f"{door}download/{invoice.lines.get().pk}/", f"{door}status/"):
        response = client.get(path, headers={"accept-encoding": "gzip"})
        response.getvalue()

        assert "Content-Encoding" not in response
        assert response["Content-Length"]


def test_two_answers_of_one_page_differ_in_length(client, invoice):
    """What is padded by chance gives no secret away by its length."""
    packed = {
        len(client.get("/basket/", headers={"accept-encoding": "gzip"}).content) for _ in range(20)
    }

    assert len(packed) > 1


def test_a_real_shop_keeps_its_styles_and_scripts_compressed():
    source = (conf.BASE_DIR / "shop/settings.py").read_text()

    assert "whitenoise.storage.CompressedManifestStaticFilesStorage" in source

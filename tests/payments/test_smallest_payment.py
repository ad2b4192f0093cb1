"""What no wallet can send is not asked for without a word: 546 satoshis, 0.546 USD here."""

from decimal import Decimal

import pytest
from django.core.cache import cache
from django.core.files.base import ContentFile

from payments import checkout
from payments.models import Line, Product, Transaction
from tests.conftest import RATE


@pytest.fixture
def save(admin_client, service):
    """The merchant saves a product at this price; the page that answers."""

    def save(price):
        form = {
            "title": "Bead",
            "slug": "bead",
            "price": price,
            "active": "on",
            "file": ContentFile(b"it", "it.txt"),
        }
        form |= {"pictures-TOTAL_FORMS": 0, "pictures-INITIAL_FORMS": 0}
        return admin_client.post("/admin/catalogue/product/add/", form)

    return save


@pytest.mark.parametrize("price", ["0.01", "0.54"])
def test_a_price_below_it_is_refused_when_the_product_is_saved(save, price):
    page = save(price).content.decode()

    assert "the smallest payment is worth 0.55" in page.replace("\xa0", " ")
    assert not Product.objects.exists()


def test_a_price_from_there_on_is_taken(save):
    assert save("0.55").status_code == 302


@pytest.mark.parametrize("answer", [(500, ""), (200, "garbage")])
def test_where_no_rate_can_be_had_the_product_is_saved(save, service, answer):
    service.answers["price"] = answer

    assert save("0.01").status_code == 302


@pytest.fixture
def bead(make_product, provider, service):
    """Its price was enough once; bitcoin has become dearer since."""
    return checkout.place_order([Line(make_product(price="0.10"))], provider)


def test_the_page_says_that_more_is_asked_for_than_is_due(client, bead):
    page = client.get(bead.get_absolute_url()).content.decode()

    assert "0.00000546" in page
    assert "Less than 0.00000546 BTC cannot be sent" in page.replace("\xa0", " ")


def test_a_usual_order_has_no_such_line(client, invoice):
    assert "cannot be sent" not in client.get(invoice.get_absolute_url()).content.decode()


def test_the_rest_of_an_order_may_be_as_small(client, invoice, call_back):
    call_back(invoice, value=9_900)

    page = client.get(invoice.get_absolute_url()).content.decode()

    assert "Less than 0.00000546 BTC cannot be sent" in page.replace("\xa0", " ")


def test_the_receipt_tells_what_was_too_much(client, bead, call_back):
    call_back(bead, value=546)

    receipt = client.get(f"{bead.get_absolute_url()}receipt/").content.decode()

    assert "of which too much, but too little to be sent back" in receipt
    assert "0.00000446" in receipt


def test_a_satoshi_of_rounding_is_not_worth_a_line(client, make_invoice, call_back):
    invoice = make_invoice(price="9.99")
    Transaction.objects.of(invoice).delete()
    cache.set("blockonomics-price-USD", RATE * Decimal("1.0001"), None)
    call_back(invoice, value=invoice.attempt.due + 1)

    receipt = client.get(f"{invoice.get_absolute_url()}receipt/").content.decode()

    assert "too much" not in receipt

"""Every currency of ISO 4217 has its own decimals, and the dearest bitcoin there is has room."""

import json
import re
from decimal import Decimal

import pytest
from django.core import mail
from django.core.cache import cache
from django.core.files.base import ContentFile
from django.core.management import call_command

from catalogue.models import Product
from payments import checkout, notifications
from payments.models import Invoice, Line, PaymentAttempt

IRR_RATE = "118672376400"


@pytest.fixture
def shop_in(settings, service):
    def shop_in(currency, rate):
        settings.SHOP_CURRENCY, settings.VERIFY_FROM = currency, Decimal(10) ** 18
        service.answers["price"] = (200, json.dumps({"price": float(rate)}))

    return shop_in


@pytest.fixture
def save(admin_client):
    """The merchant saves a product at this price."""

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


@pytest.mark.parametrize(
    ("currency", "rate", "price", "is_right"),
    [
        ("JPY", 15_000_000, "1980", True),
        ("JPY", 15_000_000, "1980.50", False),
        ("USD", 100_000, "9.99", True),
        ("USD", 100_000, "9.999", False),
        ("KWD", 30_000, "1.255", True),
        ("KWD", 30_000, "1.2555", False),
        ("IRR", IRR_RATE, "42000000000", True),
    ],
)
def test_a_price_has_the_decimals_of_its_currency(shop_in, save, currency, rate, price, is_right):
    shop_in(currency, rate)

    answer = save(price)

    assert (answer.status_code == 302) == is_right, answer.content.decode()
    if is_right:
        assert Product.objects.get().price == Decimal(price)


TOLD = [
    ("JPY", 15_000_000, "1980", "1,980\xa0JPY", "1980"),
    ("USD", 100_000, "1980", "1,980.00\xa0USD", "1980.00"),
    ("KWD", 30_000, "1.255", "1.255\xa0KWD", "1.255"),
]


@pytest.mark.parametrize(("currency", "rate", "price", "told", "plain"), TOLD)
def test_it_is_told_so_everywhere(
    shop_in, make_product, provider, client, admin_client, call_back, currency, rate, price, told,
    plain, settings,
):  # fmt: skip
    shop_in(currency, rate)
    settings.TAX_NAME, settings.TAX_RATE = "VAT", Decimal(19)
    product = make_product(price=price)
    invoice = checkout.place_order([Line(product)], provider)
    notifications.subscribe(invoice, "buyer@example.com")
    page = client.get(product.get_absolute_url()).content.decode()
    (data,) = re.findall(r'ld\+json">(.*?)</script>', page)
    waiting = client.get(invoice.get_absolute_url()).content.decode()
    status = client.get(f"{invoice.get_absolute_url()}status/").json()
    call_back(invoice)
    call_command("worker", once=True)
    receipt = client.get(f"{invoice.get_absolute_url()}receipt/").content.decode()
    change = f"/admin/catalogue/product/{product.pk}/change/"

    assert told in page and json.loads(data)["offers"]["price"] == plain
    assert f'amount" content="{plain}"' in page
    assert f"Pay {told}" in waiting
    assert status["total"] == plain
    assert told in receipt
    (tax,) = re.findall(r"of which VAT, 19 %\s*</th>\s*<td[^>]*>(.*?)</td>", receipt)
    assert tax.count(".") == plain.count(".")
    assert any(told in letter.subject for letter in mail.outbox)
    assert f'value="{plain}"' in admin_client.get(change).content.decode()
    for path in ("/admin/catalogue/product/", f"/admin/payments/invoice/{invoice.pk}/change/"):
        assert told in admin_client.get(path).content.decode()


def test_the_dearest_bitcoin_there_is_has_room(shop_in, make_product, provider, call_back):
    shop_in("IRR", IRR_RATE)
    lines = [Line(make_product(price="9999999999999"), 99)]

    invoice = checkout.place_order(lines, provider)

    attempt = PaymentAttempt.objects.get(invoice=invoice)
    assert attempt.rate == Decimal(IRR_RATE)
    call_back(invoice, value=attempt.due)
    after = Invoice.objects.get(pk=invoice.pk)
    assert (after.settlement, after.total) == ("paid", Decimal("989999999999901"))


@pytest.mark.parametrize("rate", ["118672376400.12345678", "0.12345678", "99999.99"])
def test_what_was_promised_is_kept_to_the_last_digit(
    provider, service, make_product, call_back, rate
):
    service.answers["price"] = (200, f'{{"price": {rate}}}')
    cache.clear()
    invoice = checkout.place_order([Line(make_product(price="10"))], provider)

    assert PaymentAttempt.objects.get(invoice=invoice).rate == invoice.attempt.rate
    call_back(invoice, value=invoice.attempt.due)
    assert Invoice.objects.get(pk=invoice.pk).settlement == "paid"

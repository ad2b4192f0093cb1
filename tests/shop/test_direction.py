"""What the merchant or a shopper wrote may run from right to left, in a page that does not."""

from html.parser import HTMLParser

import pytest

from catalogue.models import Category
from payments import notifications, refunds
from payments.models import Invoice, Mail
from tests.conftest import address

HEBREW, ARABIC, SHOP = "הר בשלג, 3", "جبل (صورة)", "חנות 21"
VOID = {"meta", "link", "input", "img", "br", "hr", "source"}


class Places(HTMLParser):
    """Where these words stand in the body: (words, whether they have a direction of their own)."""

    def __init__(self, page):
        super().__init__()
        self.open, self.found = [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        if tag not in VOID:
            self.open.append((tag, dict(attrs).get("dir") == "auto" or tag == "bdi"))

    def handle_endtag(self, tag):
        while self.open and self.open.pop()[0] != tag:
            pass

    def handle_data(self, data):
        inside = [tag for tag, _ in self.open]
        if "body" in inside and "script" not in inside:
            for words in (HEBREW, ARABIC, SHOP):
                if words in data:
                    is_own = any(own for _, own in self.open) or f"\u2068{words}\u2069" in data
                    self.found.append((words, is_own))


@pytest.fixture
def abroad(settings, make_product, make_invoice, call_back, client):
    """A shop, a category, a product and a paid order with Hebrew and Arabic words."""
    settings.SHOP_NAME = SHOP
    invoice = make_invoice()
    line = invoice.lines.get()
    product = line.product
    product.title = line.title = HEBREW
    product.description = ARABIC
    product.category = Category.objects.create(title=ARABIC, slug="mountains")
    product.save()
    line.save()
    notifications.subscribe(invoice, "buyer@example.com")
    client.post(f"/basket/{product.pk}/")
    client.get(invoice.get_absolute_url())
    call_back(invoice, value=15_000)
    return invoice


@pytest.mark.parametrize("language", ["en", "de"])
def test_each_of_them_has_its_own_direction_on_every_page(client, abroad, language):
    client.cookies["language"] = language
    product, path = abroad.lines.get().product, abroad.get_absolute_url()
    pages = {
        "/": {HEBREW, ARABIC, SHOP},
        f"/?q={HEBREW}": {HEBREW, SHOP},
        product.get_absolute_url(): {HEBREW, ARABIC, SHOP},
        product.category.get_absolute_url(): {HEBREW, ARABIC, SHOP},
        "/basket/": {HEBREW, SHOP},
        "/purchases/": {HEBREW, SHOP},
        path: {HEBREW, SHOP},
        f"{path}receipt/": {HEBREW, SHOP},
    }

    for page, words in pages.items():
        found = Places(client.get(page).content.decode()).found
        assert {each for each, _ in found} >= words, page
        assert [each for each, is_own in found if not is_own] == [], page


def test_so_it_is_in_mails(abroad):
    refunds.request_refund(Invoice.objects.get(pk=abroad.pk), address(9), note=HEBREW)

    for letter in map(notifications.message, Mail.objects.all()):
        found = Places(letter.alternatives[0].content).found
        assert {HEBREW, SHOP} <= {each for each, _ in found}
        assert [each for each, is_own in found if not is_own] == [], letter.subject
        for words in (HEBREW, SHOP):
            assert letter.body.count(words) == letter.body.count(f"\u2068{words}\u2069")

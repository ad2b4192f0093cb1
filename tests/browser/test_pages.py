"""Every other page, as it is seen; and a purchase without a mouse."""

import re

import pytest
from django.template.loader import render_to_string
from playwright.sync_api import expect

from .eyes import assert_fine, assert_plain_to_everybody


@pytest.fixture(scope="module")
def paid(shop):
    invoice = shop.buy("himalaya-at-dawn")
    told = shop.status(invoice)
    shop.control("pay", address=told["address"], value=told["due"])
    shop.control("mine", blocks=2)
    shop.wait_until(invoice, settlement="paid")
    return invoice


PAGES = {
    "catalogue": "/",
    "search": "/?q=lake",
    "nothing-found": "/?q=nothing-like-it",
    "product": "/products/himalaya-at-dawn/",
    "basket-empty": "/basket/",
    "find": "/find/",
    "purchases": "/purchases/",
    "not-found": "/nowhere/",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_plain_to_everybody(visit, name):
    page = visit(390)
    page.goto(PAGES[name])

    assert_plain_to_everybody(page, name)


def test_a_full_basket_is_plain_to_everybody(visit):
    page = visit(390)
    for slug in ("himalaya-at-dawn", "moonlit-lake"):
        page.goto(f"/products/{slug}/")
        page.get_by_role("button", name=re.compile("basket", re.IGNORECASE)).first.click()
    page.goto("/basket/")
    assert_plain_to_everybody(page, "basket-full")


def test_the_receipt_is_plain_to_everybody(visit, paid):
    page = visit(390)
    page.goto(f"{paid}receipt/")
    assert_plain_to_everybody(page, "receipt")


def test_nonsense_from_a_form_is_told_in_the_shops_dress(visit, shop):
    page = visit(390)
    page.goto("/products/moonlit-lake/")
    page.evaluate(
        "() => { const form = document.querySelector('form[action^=\"/basket/\"]');"
        " const field = document.createElement('input'); field.name = 'quantity';"
        " field.value = 'many'; form.append(field); form.requestSubmit(); }"
    )
    expect(page.get_by_role("heading", name="That could not be understood")).to_be_visible()
    assert_fine(page, "not-understood")


def test_who_comes_too_late_reads_so(visit, shop):
    stock = f"UPDATE catalogue_product SET stock = {shop.mark} WHERE slug = 'dunes-at-last-light'"
    page = visit(390)
    page.goto("/products/dunes-at-last-light/")
    shop.execute(stock, 0)
    try:
        page.get_by_role("button", name="Buy with Bitcoin").click()
        expect(page.get_by_role("heading", name="Somebody was quicker")).to_be_visible()
        assert_fine(page, "sold-out")

        page.goto("/products/dunes-at-last-light/")
        expect(page.get_by_role("button", name="Buy with Bitcoin")).to_have_count(0)
        assert_fine(page, "product-sold-out")
    finally:
        shop.execute(stock, None)


def test_a_form_without_its_token_is_refused_in_the_shops_dress(visit):
    page = visit(390)
    page.goto("/products/moonlit-lake/")
    page.evaluate(
        "() => { const form = document.querySelector('form[action^=\"/payments/create/\"]');"
        " form.querySelector('[name=csrfmiddlewaretoken]').remove(); form.requestSubmit(); }"
    )
    page.wait_for_url("**/payments/create/*/")
    assert_fine(page, "refused")


@pytest.mark.parametrize("name", ["429", "500", "503"])
def test_what_seldom_happens_is_told_in_the_shops_dress(visit, name):
    """The page itself, in place of an answer that would be hard to come by."""
    page = visit(390)
    words = render_to_string(f"{name}.html", {"minutes": 3, "SHOP_NAME": "Himalaya Prints"})
    page.route("**/seldom/", lambda route: route.fulfill(body=words, content_type="text/html"))
    page.goto("/seldom/")
    assert_plain_to_everybody(page, f"trouble-{name}")


class Keyboard:
    """A shopper who has no mouse, and looks where the focus is."""

    def __init__(self, page):
        self.page = page

    def go_to(self, name):
        """Tabs until what is called so has the focus."""
        for _ in range(80):
            self.page.keyboard.press("Tab")
            words, is_seen = self.focus()
            for _ in range(100):
                if is_seen:
                    break
                self.page.wait_for_timeout(50)  # a busy browser draws a little later
                words, is_seen = self.focus()
            assert is_seen, f"The focus cannot be seen on {words!r}."
            if name in words:
                return
        raise AssertionError(f"80 tabs, and no {name!r}")

    def focus(self) -> tuple[str, bool]:
        """The words of what has the focus, and whether its outline shows it."""
        words, outline, strength = self.page.evaluate(
            "() => { const e = document.activeElement, s = getComputedStyle(e);"
            " return [e.innerText ?? '', s.outlineStyle, parseFloat(s.outlineWidth)]; }"
        )
        return words, outline != "none" and strength >= 2

    def press(self, name):
        self.go_to(name)
        self.page.keyboard.press("Enter")


def test_a_purchase_needs_no_mouse(visit, shop):
    page = visit(1280)
    keyboard = Keyboard(page)
    page.goto("/")

    keyboard.press("Skip to the content")
    keyboard.press("Moonlit Lake")
    expect(page.get_by_role("heading", name="Moonlit Lake")).to_be_visible()
    keyboard.press("Buy with Bitcoin")
    page.wait_for_url("**/payments/invoice/*/")
    keyboard.go_to("Open in wallet")
    address, amount = (page.locator(f"#{name}").inner_text() for name in ("address", "amount"))
    shop.control("pay", address=address, value=int(amount.replace(".", "")))
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    shop.control("mine", blocks=2)
    expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()

    with page.expect_download() as download:
        keyboard.press("Download")
    assert download.value.path().read_bytes() == shop.goods("moonlit-lake.jpg")

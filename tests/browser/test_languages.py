"""The shop in other languages than English, as it is seen: long words, and the way between them."""

import pytest
from playwright.sync_api import expect

from .eyes import assert_fits_on_the_smallest_phone, overflow, picture
from .test_states import Made

GERMAN_STATES = {
    "waiting": "bezahlen",
    "expired": "Der Preis ist abgelaufen",
    "underpaid": "Es fehlt noch etwas",
    "replaceable": "Zahlung gesehen",
    "confirming": "Ihre Zahlung wird bestätigt",
    "overpaid": "Bezahlt. Vielen Dank!",
    "cancelled": "Diese Bestellung ist storniert",
}


@pytest.mark.parametrize("javascript", [True, False])
def test_an_invoice_is_read_in_another_language_at_the_press_of_a_button(visit, shop, javascript):
    """The page tells nobody where it is, so that the browser says `Origin: null`."""
    page = visit(390, javascript=javascript, locale="en-GB")
    page.goto(shop.buy("moonlit-lake"))
    place, amount = page.url, page.locator("#amount").inner_text()

    with page.expect_request("**/language/") as asked:
        page.get_by_role("button", name="Deutsch").click()

    expect(page.locator("html")).to_have_attribute("lang", "de")
    expect(page).to_have_url(place)
    expect(page.get_by_role("heading", level=1)).to_have_text("6,00\xa0USD bezahlen")
    expect(page.locator("#amount")).to_have_text(amount)
    assert asked.value.all_headers()["origin"] == "null"

    page.get_by_role("button", name="Español").click()

    expect(page.get_by_role("heading", level=1)).to_have_text("Pagar 6,00\xa0USD")
    page.goto("/")
    expect(page.get_by_role("link", name="Catálogo")).to_be_visible()


@pytest.mark.parametrize("language", ["de", "es"])
def test_a_purchase_from_the_catalogue_to_the_receipt_breaks_no_page(visit, shop, language):
    page = visit(390, locale=language)

    def look(name):
        picture(page, f"{language}-{name}")
        assert overflow(page) <= 0, name

    page.goto("/")
    look("catalogue")
    page.goto("/products/himalaya-at-dawn/")
    look("product")
    page.locator("form[action^='/basket/'] button").click()
    look("basket")
    page.locator("form[action='/payments/create/'] button").click()
    page.wait_for_url("**/payments/invoice/*/")
    look("waiting")
    invoice = page.url.removeprefix(shop.url)
    status = shop.status(invoice)
    shop.control("pay", address=status["address"], value=status["due"] * 2)
    shop.control("mine", blocks=2)
    # The page follows by itself; going there meanwhile would cross its own reload.
    expect(page.locator(f"a[href$='{invoice}receipt/']")).to_be_visible()
    look("paid")
    for name in ("refund", "receipt"):
        page.goto(f"{invoice}{name}/")
        look(name)
    assert_fits_on_the_smallest_phone(page, "receipt")
    page.set_viewport_size({"width": 390, "height": 844})
    for path in ("/find/", "/purchases/", "/nowhere/"):
        page.goto(path)
        look(path.strip("/"))


@pytest.mark.parametrize("state", GERMAN_STATES)
def test_german_words_fit_in_every_state(visit, shop, state):
    made = Made(shop)
    getattr(made, state)()
    page = visit(390, javascript=False, locale="de")

    page.goto(made.path)

    picture(page, f"de-state-{state}")
    expect(page.get_by_role("heading", level=1)).to_contain_text(GERMAN_STATES[state])
    assert overflow(page) <= 0
    assert_fits_on_the_smallest_phone(page, state)

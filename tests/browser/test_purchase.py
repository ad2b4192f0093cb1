"""The whole story, as a shopper and a merchant live it."""

import io
from urllib.parse import unquote

import pytest
import zxingcpp
from PIL import Image
from playwright.sync_api import expect

from .eyes import overflow, picture


def scan(page):
    """Reads the QR code off the screen, on a phone after a tap."""
    show = page.get_by_text("Show the QR code")
    if show.is_visible() and not page.locator("#show-code").is_checked():
        show.click()
    screen = Image.open(io.BytesIO(page.locator("svg.qr").screenshot()))
    return zxingcpp.read_barcodes(screen)[0].text


def pay_with_the_demo_wallet(page):
    """Follows the link to the wallet in another tab, as on a phone beside the screen."""
    wallet = page.context.new_page()
    wallet.goto(page.get_by_role("link", name="Pay with the demo wallet").get_attribute("href"))
    picture(wallet, "wallet")
    wallet.get_by_role("button", name="Pay the exact amount").click()
    wallet.wait_for_load_state()
    picture(wallet, "wallet-paid")
    wallet.close()


@pytest.mark.parametrize("width", [390, 1280])
def test_a_picture_is_bought_and_the_page_follows_untouched(visit, shop, width):
    page = visit(width, color_scheme="dark" if width < 600 else "light")

    page.goto("/")
    picture(page, "catalogue")
    page.get_by_role("link", name="Himalaya at Dawn").click()
    picture(page, "product")
    page.get_by_role("button", name="Buy with Bitcoin").click()
    page.wait_for_url("**/payments/invoice/*/")
    picture(page, "waiting")

    address = page.locator("#address").inner_text()
    amount = page.locator("#amount").inner_text()
    uri = scan(page)
    assert uri == f"bitcoin:{address.upper()}?amount={amount}"
    link = page.get_by_role("link", name="Open in wallet").get_attribute("href")
    assert unquote(link).startswith(f"bitcoin:{address}?amount={amount}&label=Himalaya Prints ")

    pay_with_the_demo_wallet(page)
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    picture(page, "confirming")
    shop.control("mine", blocks=1)
    expect(page.locator(".steps .done")).to_have_count(2)
    shop.control("mine", blocks=1)
    expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()
    picture(page, "paid")

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.suggested_filename == "himalaya-at-dawn.jpg"
    assert download.value.path().read_bytes() == shop.goods("himalaya-at-dawn.jpg")
    page.get_by_role("link", name="Receipt").click()
    picture(page, "receipt")


def test_it_works_without_javascript(visit, shop):
    page = visit(390, javascript=False)

    page.goto("/")
    page.get_by_role("link", name="Northern Lights").click()
    page.get_by_role("button", name="Buy with Bitcoin").click()
    assert scan(page).startswith("bitcoin:TB1Q")
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)

    invoice = page.url.removeprefix(shop.url)
    pay_with_the_demo_wallet(page)
    shop.wait_until(invoice, status=0)
    page.get_by_role("link", name="Look again").click()
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    shop.control("mine", blocks=2)
    shop.wait_until(invoice, settlement="paid")
    page.reload()
    expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()

    with page.expect_download() as download:
        page.get_by_role("link", name="Download").click()
    assert download.value.path().read_bytes() == shop.goods("northern-lights.jpg")


def test_too_little_is_asked_for_again_and_two_payments_count_together(visit, shop):
    page = visit()
    page.goto(shop.buy("moonlit-lake"))
    address = page.locator("#address").inner_text()
    due = shop.status(page.url.removeprefix(shop.url))["due"]

    shop.control("pay", address=address, value=due - 1_000)
    expect(page.get_by_role("heading", name="Something is still missing")).to_be_visible()
    expect(page.locator("#amount")).to_have_text("0.00001000")
    assert scan(page).endswith("?amount=0.00001000")
    picture(page, "underpaid")

    shop.control("pay", address=address, value=1_000)
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    shop.control("mine", blocks=2)
    expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()


def test_a_basket_is_one_payment(visit, shop):
    page = visit(390)
    for name in ("Himalaya at Dawn", "Moonlit Lake"):
        page.goto("/")
        page.get_by_role("link", name=name).click()
        page.get_by_role("button", name="Put into the basket").click()
    picture(page, "basket")
    expect(page.locator(".total")).to_contain_text("13.50")

    page.get_by_role("button", name="Buy with Bitcoin").click()

    invoice = page.url.removeprefix(shop.url)
    due = shop.status(invoice)["due"]
    shop.control("pay", address=page.locator("#address").inner_text(), value=due)
    shop.control("mine", blocks=2)
    expect(page.get_by_role("link", name="Download")).to_have_count(2)


def test_the_merchant_finds_the_sale(visit, shop):
    invoice = shop.buy("northern-lights")
    status = shop.status(invoice)
    shop.control("pay", address=status["address"], value=status["due"])
    shop.control("mine", blocks=2)
    shop.wait_until(invoice, settlement="paid")

    page = visit()
    page.goto("/admin/")
    page.get_by_label("Username").fill("merchant")
    page.get_by_label("Password").fill("merchant")
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("link", name="Invoices", exact=True).click()
    page.locator("#searchbar").fill(status["order"])
    page.get_by_role("button", name="Search").click()
    picture(page, "admin-invoices")
    expect(page.locator("#result_list tbody tr")).to_have_count(1)
    page.get_by_role("link", name=status["order"]).click()
    picture(page, "admin-invoice")
    assert overflow(page) <= 0

    for fact in ("Paid", status["address"], "1 × Northern Lights", "Confirmed"):
        expect(page.locator("#content")).to_contain_text(fact)

"""The receipt on paper, and money on its way back, as people see both."""

import pypdfium2
import pytest
from playwright.sync_api import expect

from tests.conftest import address

from .eyes import ARTEFACTS, assert_fine, assert_fits_on_the_smallest_phone, picture

A4 = (595, 842)  # points


@pytest.fixture
def overpaid(shop):
    """The path of an invoice that is paid, with 5,000 satoshis too many."""
    path = shop.buy("himalaya-at-dawn")
    status = shop.status(path)
    shop.control("pay", address=status["address"], value=status["due"] + 5_000)
    shop.control("mine", blocks=2)
    shop.wait_until(path, settlement="paid")
    return path


@pytest.mark.parametrize("width", [390, 1280])
def test_a_receipt_is_printed_on_one_page(visit, shop, overpaid, width, tmp_path):
    page = visit(width, color_scheme="dark" if width < 600 else "light")
    page.goto(f"{overpaid}receipt/")
    expect(page.get_by_role("button", name="Print, or save as PDF")).to_be_visible()
    picture(page, "receipt")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")

    page.pdf(path=tmp_path / "receipt.pdf", prefer_css_page_size=True)

    with pypdfium2.PdfDocument(tmp_path / "receipt.pdf") as paper:
        assert len(paper) == 1
        sheet = paper[0]
        assert tuple(map(round, sheet.get_size())) == A4
        sheet.render(scale=1.5).to_pil().save(ARTEFACTS / f"receipt-paper-{width}.png")
        text = sheet.get_textpage().get_text_range()
    status = shop.status(overpaid)
    for fact in (status["order"], "Himalaya at Dawn", status["address"], "Himalaya Prints"):
        assert fact in text
    for only_on_screens in ("Catalogue", "Back to the order", "Print, or save", "Skip to"):
        assert only_on_screens not in text


@pytest.mark.parametrize(("width", "javascript"), [(390, False), (1280, True)])
def test_too_much_is_asked_back_sent_and_seen(visit, shop, overpaid, width, javascript):
    shopper = visit(width, javascript)
    look_at = assert_fine if javascript else picture  # axe-core is a script
    home = address(1_000 + width)
    shopper.goto(overpaid)
    expect(shopper.get_by_text("0.00005000 BTC more than was asked for")).to_be_visible()
    picture(shopper, "overpaid")
    shopper.get_by_role("link", name="Get it back").click()
    shopper.get_by_label("Your bitcoin address").fill(home[:-1])
    shopper.get_by_role("button", name="Send it back to this address").click()
    expect(shopper.get_by_role("alert")).to_contain_text("not a whole bitcoin address")
    look_at(shopper, "refund-mistaken")
    shopper.get_by_label("Your bitcoin address").fill(home)
    shopper.get_by_role("button", name="Send it back to this address").click()
    expect(shopper.get_by_text("You asked for 0.00005000 BTC back")).to_be_visible()
    look_at(shopper, "refund-asked")
    shopper.get_by_role("link", name="Correct or withdraw the request").click()
    expect(shopper.get_by_label("Your bitcoin address")).to_have_value(home)
    look_at(shopper, "refund-correct")
    if javascript:
        assert_fits_on_the_smallest_phone(shopper, "refund")

    merchant = visit()
    merchant.goto("/admin/payments/refund/?state=open")
    merchant.get_by_label("Username").fill("merchant")
    merchant.get_by_label("Password").fill("merchant")
    merchant.get_by_role("button", name="Log in").click()
    merchant.get_by_role("link", name=shop.status(overpaid)["order"]).click()
    expect(merchant.get_by_role("heading", name="Refund for")).to_be_visible()
    expect(merchant.get_by_role("link", name=f"bitcoin:{home}")).to_be_visible()
    refund = shop.control("pay", address=home, value=5_000)["txid"]
    merchant.get_by_label("Transaction id").fill(refund)
    picture(merchant, "admin-refund")
    merchant.get_by_role("button", name="Save", exact=True).click()
    expect(merchant.get_by_text("was changed successfully")).to_be_visible()

    shopper.goto(overpaid)
    expect(shopper.get_by_text("Refunded.")).to_be_visible()
    expect(shopper.get_by_text(refund)).to_be_visible()
    look_at(shopper, "refunded")
    shopper.goto(f"{overpaid}receipt/")
    expect(shopper.get_by_role("heading", name="Sent back")).to_be_visible()

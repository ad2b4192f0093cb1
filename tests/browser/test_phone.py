"""On the phone that pays, everything to pay with stands on the first screen."""

import pytest
from playwright.sync_api import expect

from .eyes import overflow, picture
from .test_purchase import scan

FIRST_SCREEN = 600


def box(locator):
    expect(locator).to_be_visible()
    return locator.bounding_box()


def bottoms(page):
    """Where each thing that one pays with ends, in pixels from the top of the page."""
    things = {
        "amount": page.locator("#amount"),
        "time left": page.locator("[data-countdown]"),
        "wallet": page.locator("a[href^='bitcoin:']"),
        "copy the amount": page.locator("button[data-copy=amount]"),
        "copy the address": page.locator("button[data-copy=address]"),
    }
    return {name: box(thing)["y"] + box(thing)["height"] for name, thing in things.items()}


@pytest.mark.parametrize("language", ["en", "de", "es"])
def test_all_to_pay_with_is_on_the_first_screen(visit, shop, language):
    page = visit(390, locale=language)
    page.goto(shop.buy("moonlit-lake"))

    assert {name: end for name, end in bottoms(page).items() if end > FIRST_SCREEN} == {}
    assert overflow(page) <= 0
    picture(page, f"phone-{language}")


@pytest.mark.parametrize("javascript", [True, False])
@pytest.mark.parametrize("width", [320, 390])
def test_the_code_is_one_tap_away_on_a_phone(visit, shop, width, javascript):
    page = visit(width, javascript=javascript)
    page.goto(shop.buy("moonlit-lake"))
    expect(page.locator("svg.qr")).to_be_hidden()

    page.get_by_text("Show the QR code").click()

    assert scan(page).startswith("bitcoin:TB1Q")
    assert overflow(page) <= 0
    picture(page, "phone-code")


def test_the_code_is_opened_by_the_keyboard_too(visit, shop):
    page = visit(390)
    page.goto(shop.buy("moonlit-lake"))

    page.get_by_label("Show the QR code").focus()
    page.keyboard.press("Space")

    expect(page.locator("svg.qr")).to_be_visible()


def test_on_a_wide_screen_the_code_stands_beside(visit, shop):
    page = visit(1280)
    page.goto(shop.buy("moonlit-lake"))

    code, amount = box(page.locator("svg.qr")), box(page.locator("#amount"))

    assert code["x"] > amount["x"] + amount["width"] or code["x"] + code["width"] < amount["x"]
    assert code["y"] + code["height"] < 900
    expect(page.get_by_text("Show the QR code")).to_be_hidden()
    picture(page, "wide-waiting")


def test_the_steps_fold_away(visit, shop):
    page = visit(390)
    page.goto(shop.buy("moonlit-lake"))
    steps = page.get_by_text("Open your bitcoin wallet and scan the code")
    expect(steps).to_be_hidden()

    page.get_by_text("How to pay").click()

    expect(steps).to_be_visible()

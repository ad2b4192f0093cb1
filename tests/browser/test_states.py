"""Every state of an invoice, as it is seen: small and large, by day and night, with and without
JavaScript; and nothing that keeps anybody out."""

import pytest
from playwright.sync_api import expect

from .eyes import assert_fine, assert_plain_to_everybody, overflow, picture
from .test_purchase import scan


class Made:
    """Brings a new invoice into a state, by what the sandbox's network does."""

    def __init__(self, shop):
        self.shop = shop
        # While it is looked at, only what the test does moves it.
        shop.control("settings", faults={"balance": "503", "searchhistory": "503"})
        self.path = shop.buy("moonlit-lake")
        told = shop.status(self.path)
        self.address, self.due = told["address"], told["due"]

    def pay(self, share=1.0, **more):
        value = int(self.due * share)
        return self.shop.control("pay", address=self.address, value=value, **more)["txid"]

    def until(self, blocks=0, **facts):
        if blocks:
            self.shop.control("mine", blocks=blocks)
        return self.shop.wait_until(self.path, **facts)

    def waiting(self):
        pass

    def expired(self):
        self.shop.let_the_quote_end(self.path)

    def seen(self):
        self.pay()
        self.until(status=0)

    def replaceable(self):
        self.pay(rbf=1)
        self.until(status=0, replaceable=True)

    def confirming(self):
        self.pay()
        self.until(blocks=1, status=1)

    def paid(self):
        self.pay()
        self.until(blocks=2, settlement="paid")

    def underpaid(self):
        self.pay(0.6)
        self.until(settlement="underpaid")

    def underpaid_and_expired(self):
        self.underpaid()
        self.shop.let_the_quote_end(self.path)

    def overpaid(self):
        self.pay(2.5)
        self.until(blocks=2, settlement="paid")

    def late(self):
        past = "expires_at = '2020-01-01 00:00:00+00:00'"
        self.shop.alter(self.path, past, "payments_paymentattempt")
        self.pay(1.2)
        self.until(late=True)

    def valuing(self):
        self.late()
        self.shop.alter(self.path, "rate = NULL", "payments_transaction")

    def double_spent(self):
        self.shop.control("drop", txid=self.replaced())
        self.shop.alter(self.path, "dropped_at = last_seen", "payments_transaction")

    def replaced(self):
        txid = self.pay(rbf=1)
        self.until(status=0)
        return txid

    def review(self):
        self.seen()
        self.shop.alter(self.path, "review = 'it was reported with different amounts'")

    def verifying(self):
        faults = dict.fromkeys(("balance", "searchhistory", "tx_detail"), "503")
        self.shop.control("settings", faults=faults)
        self.shop.alter(self.path, "total = 100 * total")
        self.shop.alter(self.path, "rate = 100 * rate", "payments_paymentattempt")
        self.pay()
        self.until(blocks=2, status=2)

    def sold_out(self):
        self.seen()
        self.shop.alter(self.path, "stock = 'backordered'", "payments_invoiceline")

    def cancelled(self):
        self.underpaid()
        self.shop.alter(self.path, "cancelled_at = created_at, cancelled_by = 'merchant'")


# The state, its heading, and what must be said besides.
STATES = {
    "waiting": ("Pay ", "Open your bitcoin wallet and scan the code"),
    "expired": ("The price has run out", "I have already paid"),
    "seen": ("Payment seen", "two blocks confirm it"),
    "replaceable": ("Payment seen", "marked as replaceable"),
    "confirming": ("Your payment is being confirmed", "First confirmation"),
    "paid": ("Paid. Thank you!", "Download"),
    "underpaid": ("Something is still missing", "Please send the rest"),
    "underpaid_and_expired": ("Something is still missing", "The price has run out meanwhile"),
    "overpaid": ("Paid. Thank you!", "more than was asked for"),
    "late": ("Payment seen", "counted at the price of the moment"),
    "valuing": ("Payment seen", "what it is worth just now is being found out"),
    "double_spent": ("Pay ", "gone from the network"),
    "review": ("Payment seen", "A person in the shop is looking"),
    "verifying": ("Your payment is being confirmed", "we ask the network once more"),
    "sold_out": ("Payment seen", "was sold out when your payment came in"),
    "cancelled": ("This order is cancelled", "nothing will be delivered"),
}


@pytest.mark.parametrize("state", STATES)
def test_a_state_is_plain_to_everybody(visit, shop, state):
    made = Made(shop)
    getattr(made, state)()
    heading, words = STATES[state]

    page = visit(390)
    page.goto(made.path)
    expect(page.get_by_role("heading", level=1)).to_contain_text(heading)
    expect(page.locator("main")).to_contain_text(words)
    assert_plain_to_everybody(page, f"invoice-{state}")

    plain = visit(390, javascript=False)
    plain.goto(made.path)
    expect(plain.get_by_role("heading", level=1)).to_contain_text(heading)
    expect(plain.locator("main")).to_contain_text(words)
    for width, theme in ((390, "dark"), (1280, "light")):
        plain.set_viewport_size({"width": width, "height": 900})
        plain.emulate_media(color_scheme=theme)
        picture(plain, f"invoice-{state}-plain-{theme}")
        assert overflow(plain) <= 0
    # No button that would do nothing.
    expect(plain.get_by_role("button", name="Copy")).to_have_count(0)
    expect(plain.get_by_role("button", name="Tell me")).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [320, 390, 1280])
def test_the_code_is_read_off_any_screen(visit, shop, width, theme):
    page = visit(width, color_scheme=theme)
    page.goto(shop.buy("moonlit-lake"))

    address, amount = (page.locator(f"#{name}").inner_text() for name in ("address", "amount"))
    assert scan(page) == f"bitcoin:{address.upper()}?amount={amount}"


@pytest.mark.parametrize("javascript", [True, False])
def test_a_new_price_is_had_from_a_page_that_names_no_referrer(visit, shop, javascript):
    made = Made(shop)
    made.expired()
    page = visit(390, javascript=javascript)
    page.goto(made.path)

    with page.expect_request("**/quote/") as asked:
        page.get_by_role("button", name="Get a new price").click()

    expect(page.get_by_role("heading", name="Pay ")).to_be_visible()
    expect(page.locator("#amount")).to_be_visible()
    assert "referer" not in asked.value.all_headers()


def test_where_the_service_is_away_the_shopper_reads_so(visit, shop):
    page = visit(390)
    page.goto("/products/moonlit-lake/")
    shop.control("settings", faults={"new_address": "500"})

    page.get_by_role("button", name="Buy with Bitcoin").click()

    expect(page.get_by_role("heading", name="That did not work")).to_be_visible()
    expect(page.locator("main")).to_contain_text("You have not been charged anything")
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert_fine(page, "trouble")


def test_an_open_page_asks_for_few_files_and_for_nothing_elsewhere(visit, shop):
    page = visit(390)
    asked = []
    page.on("request", lambda request: asked.append(request.url))

    with page.expect_response("**/status/"):
        page.goto(shop.buy("moonlit-lake"))

    # Chromium without a window asks for no icon; the heading shows the very same file.
    assert len(asked) <= 6, "\n".join(asked)
    assert [url for url in asked if not url.startswith(shop.url)] == []

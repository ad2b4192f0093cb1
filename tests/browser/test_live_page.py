"""How an open invoice page keeps itself true: it listens, it asks, it never loops."""

import re

import pytest
from playwright.sync_api import expect


@pytest.fixture
def invoice(shop):
    return shop.buy("singing-bowl")


@pytest.fixture
def pay(shop, invoice):
    def pay(**more):
        status = shop.status(invoice)
        return shop.control("pay", address=status["address"], value=status["due"], **more)

    return pay


def count(page, event, matching):
    """A list that grows with each such event of the page."""
    seen = []
    page.on(event, lambda thing: seen.append(thing) if matching(thing) else None)
    return seen


def loads_of(page):
    return count(page, "framenavigated", lambda frame: frame == page.main_frame)


def questions_of(page):
    return count(page, "request", lambda request: request.url.endswith("/status/"))


def wait_for(page, what, number):
    for _ in range(400):
        if len(what) >= number:
            return
        page.wait_for_timeout(50)
    raise AssertionError(f"{len(what)} of {number} after 20 seconds")


def test_a_hint_before_the_server_knows_loads_nothing(visit, shop, invoice, pay):
    # Neither a callback nor the reconciliation tells the server.
    shop.control("settings", callbacks="off", faults={"balance": "500"})
    page = visit()
    page.goto(invoice)
    loads, questions = loads_of(page), questions_of(page)

    pay()

    wait_for(page, questions, 4)  # asked again and again, with growing pauses
    assert loads == []
    assert shop.status(invoice)["status"] == -1
    expect(page.locator("#address")).to_be_visible()


def test_each_news_loads_the_page_once(visit, shop, invoice, pay):
    page = visit()
    page.goto(invoice)
    loads = loads_of(page)

    pay()
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    assert len(loads) == 1
    shop.control("mine", blocks=1)
    expect(page.locator(".steps .done")).to_have_count(2)
    assert len(loads) == 2
    shop.control("mine", blocks=1)
    expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()
    assert len(loads) == 3


def test_where_sockets_are_blocked_the_page_asks_by_itself(visit, shop, invoice, pay):
    page = visit()
    page.route_web_socket("**/*", lambda socket: socket.close())
    page.clock.install()
    page.goto(invoice)
    pay()
    shop.wait_until(invoice, status=0)

    page.clock.fast_forward(11_000)

    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()


def test_a_hidden_tab_without_sockets_asks_each_minute(visit, shop, invoice, pay):
    page = visit()
    page.add_init_script(HIDDEN)
    page.route_web_socket("**/*", lambda socket: socket.close())
    page.clock.install()
    page.goto(invoice)
    pay()
    shop.wait_until(invoice, status=0)
    questions = questions_of(page)

    for _ in range(5):
        page.clock.run_for(11_000)
    assert questions == []
    page.clock.run_for(11_000)

    expect(page).to_have_title(re.compile("^Payment seen · Order "))
    assert len(questions) == 1


def test_a_hidden_tab_with_a_socket_asks_when_it_is_nudged_only(visit, shop, invoice, pay):
    page = visit()
    page.add_init_script(HIDDEN)
    page.clock.install()
    with page.expect_response("**/status/"):  # the first question, once the socket is open
        page.goto(invoice)
    questions = questions_of(page)

    for _ in range(12):
        page.clock.run_for(10_000)
    assert questions == []
    pay()

    expect(page).to_have_title(re.compile("^Payment seen · Order "))


def test_a_lost_connection_is_made_again(visit, shop, invoice, pay):
    page = visit()
    opened = count(page, "websocket", lambda socket: "/ws/invoices/" in socket.url)
    sockets = []

    def keep(socket):
        socket.connect_to_server()
        sockets.append(socket)

    page.route_web_socket("**/ws/invoices/*/", keep)
    page.goto(invoice)
    wait_for(page, sockets, 1)

    sockets[0].close()

    wait_for(page, sockets, 2)
    pay()
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    assert opened is not None


def test_a_waking_tab_looks_again(visit, shop, invoice, pay):
    page = visit()
    page.route_web_socket("**/*", lambda socket: socket.close())
    page.goto(invoice)
    pay()
    shop.wait_until(invoice, status=0)

    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")

    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()


def test_at_the_end_of_the_quote_the_page_says_so(visit, shop, invoice):
    page = visit()
    page.clock.install()
    page.goto(invoice)
    questions = questions_of(page)
    expect(page.locator("[data-countdown]")).to_contain_text("for 14:5")

    page.clock.fast_forward("15:01")

    wait_for(page, questions, 1)


def test_an_answer_that_never_fits_does_not_make_it_loop(visit, shop, invoice):
    page = visit()
    page.route("**/status/", lambda route: route.fulfill(json={"revision": "never the page's own"}))
    page.clock.install()
    page.goto(invoice)
    loads, questions = loads_of(page), questions_of(page)

    for _ in range(5):
        page.clock.fast_forward(60_000)
        page.wait_for_timeout(100)

    wait_for(page, questions, 3)
    assert len(loads) <= 1


def test_address_and_amount_are_copied(visit, shop, invoice):
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    page.goto(invoice)

    for name in ("address", "amount"):
        page.get_by_role("button", name=f"the {name}").click()

        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.locator(f"#{name}").inner_text()


def test_it_listens_to_the_shop_and_to_the_payment_service_alone(visit, shop, invoice):
    page = visit()
    sockets = count(page, "websocket", lambda socket: True)

    for path in ("/", "/products/himalaya-at-dawn/", "/basket/"):
        page.goto(path)
    assert sockets == []
    page.goto(invoice)
    wait_for(page, sockets, 2)

    host, key = shop.url.replace("http:", "ws:"), invoice.rstrip("/").rpartition("/")[2]
    address = shop.status(invoice)["address"]
    assert sorted(socket.url for socket in sockets) == [
        f"{host}/sandbox/payment/{address}",
        f"{host}/ws/invoices/{key}/",
    ]


def test_nothing_comes_from_elsewhere(visit, shop, invoice):
    page = visit()
    urls = []
    page.on("request", lambda request: urls.append(request.url))
    page.on("websocket", lambda socket: urls.append(socket.url.replace("ws://", "http://")))

    for path in ("/", "/products/himalaya-at-dawn/", "/basket/", invoice, "/sandbox/"):
        page.goto(path)

    assert [url for url in urls if not url.startswith((shop.url, "data:"))] == []


def test_a_restart_of_the_server_is_survived(visit, shop, invoice, pay):
    page = visit()
    with page.expect_response("**/status/"):
        page.goto(invoice)
    loads = loads_of(page)

    shop.stop()
    shop.start()
    pay()

    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    assert len(loads) == 1


def test_a_flight_is_survived(visit, shop, invoice, pay):
    page = visit()
    page.goto(invoice)
    page.context.set_offline(True)
    expect(page.locator("[data-offline]")).to_contain_text("You are offline")
    pay()
    shop.wait_until(invoice, status=0)
    expect(page.locator("#address")).to_be_visible()

    page.context.set_offline(False)

    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    expect(page.locator("[data-offline]")).to_be_hidden()


def test_a_tab_behind_others_shows_the_state_in_title_and_icon(visit, shop, invoice, pay):
    page = visit()
    page.goto(invoice)
    expect(page).to_have_title(re.compile("^Waiting for your payment · Order "))
    page.context.new_page().goto("/")

    pay()
    shop.control("mine", blocks=2)

    expect(page).to_have_title(re.compile("^Paid · Order "))
    assert "/paid" in page.locator("link[rel=icon]").get_attribute("href")


def test_a_screen_reader_hears_of_news(visit, shop, invoice, pay):
    page = visit()
    page.goto(invoice)
    expect(page.locator("[data-live]")).to_be_empty()

    pay()

    expect(page.locator("[data-live][role=status]")).to_have_text("Payment seen")


def test_news_take_the_place_of_the_page_in_the_history(visit, shop, invoice, pay):
    page = visit()
    page.goto(invoice)
    visited = page.evaluate("history.length")

    pay()

    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    assert page.evaluate("history.length") == visited


HIDDEN = "Object.defineProperty(document, 'hidden', { get: () => true });"
NOTIFICATIONS = """
Object.defineProperty(document, "hidden", { get: () => true });
globalThis.Notification = class {
  static get permission() { return sessionStorage.getItem("permission") ?? "default"; }
  static async requestPermission() {
    sessionStorage.setItem("permission", "granted");
    return "granted";
  }
  constructor(words) { document.documentElement.dataset.told = words; }
};
"""


def test_who_asked_for_it_is_told_when_it_is_paid(visit, shop, invoice, pay):
    page = visit()
    page.add_init_script(NOTIFICATIONS)
    page.goto(invoice)

    page.get_by_role("button", name="Tell me when it is paid").click()

    expect(page.get_by_role("button", name="You will be told")).to_be_visible()
    pay()
    expect(page.get_by_role("heading", name="Payment seen")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.told ?? ''") == ""
    shop.control("mine", blocks=2)
    expect(page.locator("html[data-told='Paid. Thank you!']")).to_have_count(1)


def test_who_did_not_ask_is_not_told(visit, shop, invoice, pay):
    page = visit()
    page.add_init_script(NOTIFICATIONS)
    page.goto(invoice)
    pay()
    shop.control("mine", blocks=2)

    expect(page.get_by_role("heading", name="Paid. Thank you!")).to_be_visible()
    assert page.evaluate("document.documentElement.dataset.told ?? ''") == ""


def test_what_was_being_typed_outlives_the_news(visit, invoice, pay):
    page = visit()
    page.goto(invoice)
    page.get_by_label("Get the link to this order").fill("half.an.address@")

    pay()

    expect(page.get_by_role("heading", level=1)).to_have_text("Payment seen")
    expect(page.get_by_label("Get the link to this order")).to_have_value("half.an.address@")

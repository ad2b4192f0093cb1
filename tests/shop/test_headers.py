"""What every answer promises the browser, and that every page keeps to it."""

import re
from datetime import timedelta
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

import pytest
import responses
from django.test import Client
from django.utils import timezone

from payments.bitcoin.template_tags import payment_uri
from tests.conftest import SERVICE, address

OUR_HOSTS = {"", "testserver"}
# ShownRefund for the numbers and letters that differ from page to page.
NUMBER = re.compile(r"/\d+/")
KEY = re.compile(r"/invoice/[\w-]{32}/")
TXID = re.compile(r"/[0-9a-f]{64}/")
ADDRESS = re.compile(r"/address/\w+/")


class Html(HTMLParser):
    """What a Content-Security-Policy forbids, and where the page leads."""

    def __init__(self, text: str):
        super().__init__()
        self.inline = []
        self.urls = []
        self.links = []
        self._inside = ""
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        attributes = {name: value or "" for name, value in attributes}
        is_data = attributes.get("type", "").endswith("json")
        self._inside = tag if tag in ("script", "style") and not is_data else ""
        self.inline += [
            f"<{tag} {name}={value!r}>"
            for name, value in attributes.items()
            if name == "style" or name.startswith("on") or value.lower().startswith("javascript:")
        ]
        self.urls += [
            value
            for name, value in attributes.items()
            if name in ("href", "src", "action", "formaction", "poster", "data", "xlink:href")
        ]
        self.links += [attributes["href"]] if tag == "a" and attributes.get("href") else []
        self.urls += [part.split()[0] for part in attributes.get("srcset", "").split(",") if part]

    def handle_data(self, data):
        if self._inside and data.strip():
            self.inline.append(f"<{self._inside}>{data.strip()[:60]}")

    def handle_endtag(self, tag):
        self._inside = ""


def policy(response) -> dict[str, list[str]]:
    """The Content-Security-Policy, as a list of sources by directive."""
    directives = response.headers["Content-Security-Policy"].split(";")
    return {words[0]: words[1:] for words in map(str.split, directives)}


def shape(path: str) -> str:
    """The kind of page: pages that differ by a number or a key only are of one kind."""
    for pattern, name in [(KEY, "/invoice/…/"), (TXID, "/…/"), (ADDRESS, "/address/…/")]:
        path = pattern.sub(name, path)
    return NUMBER.sub("/…/", path)


@pytest.fixture
def a_busy_shop(make_product, make_picture, make_invoice, call_back, client):
    """Something on every page: products, an invoice in each settlement, payments, callbacks."""
    product = make_product("Beside the basket")
    make_picture(product)
    a_minute_ago = timezone.now() - timedelta(minutes=1)
    invoices = {
        "waiting": make_invoice(),
        "expired": make_invoice(expires_at=a_minute_ago),
        "underpaid": make_invoice(),
        "confirming": make_invoice(),
        "overpaid": make_invoice(),
    }
    call_back(invoices["underpaid"], number=1, value=1)
    call_back(invoices["confirming"], number=2, status=0, rbf=1)
    call_back(invoices["overpaid"], number=3, value=20_000)
    control = "/sandbox/control"
    payment = {"address": invoices["waiting"].attempt.reference, "value": 10_000, "rbf": 1}
    client.post(f"{control}/pay/", payment, content_type="application/json")
    return invoices


@pytest.fixture
def merchant(admin_client, a_busy_shop):
    """A visitor who sees everything: the desk, and a basket with something in it."""
    admin_client.post("/basket/1/", {"quantity": 2})
    pk = re.search(
        r'action="/basket/(\d+)/"', admin_client.get("/products/product-1/").content.decode()
    )
    admin_client.post(f"/basket/{pk[1]}/")
    return admin_client


@pytest.fixture
def walk(merchant, a_busy_shop):
    """Every kind of page that links lead to, by path: of shop, desk and sandbox."""
    pages = {}
    waiting = [
        "/",
        "/admin/",
        "/sandbox/",
        "/sandbox/?uri=" + payment_uri(a_busy_shop["waiting"].attempt),
    ]
    waiting += [invoice.get_absolute_url() for invoice in a_busy_shop.values()]
    seen_shapes = set()
    starts = set(waiting)
    while waiting:
        path = waiting.pop()
        kind = shape(urlsplit(path).path)
        if path in pages or (kind in seen_shapes and path not in starts):
            continue
        seen_shapes.add(kind)
        response = merchant.get(path, follow=True)
        if not response.headers["Content-Type"].startswith("text/html"):
            response.getvalue()  # to its end, which closes the file of a download
            continue
        pages[path] = response
        for url in Html(response.content.decode()).links:
            parts = urlsplit(urljoin(path, url))
            is_page = parts.scheme in ("", "http") and parts.netloc in OUR_HOSTS
            if is_page and not parts.path.startswith(("/static/", "/media/", "/admin/jsi18n/")):
                waiting.append(parts.path)
    return pages


@pytest.fixture
def errors(client, make_product, settings):
    """The pages of things that go wrong, by what went wrong."""
    product = make_product("Never bought")
    strict = Client(enforce_csrf_checks=True)
    pages = {
        "400 wrong host": client.get("/", headers={"host": "elsewhere.example"}),
        "400 quantity": client.post(f"/basket/{product.pk}/", {"quantity": "many"}),
        "400 callback": client.get("/payments/callback/blockonomics?secret=demo-callback-secret"),
        "403 form": strict.post(f"/basket/{product.pk}/"),
        "403 callback": client.get("/payments/callback/blockonomics"),
        "404 key": client.get("/payments/invoice/unknown/"),
        "404 path": client.get("/nowhere/"),
        "404 product": client.get("/products/nothing/"),
        "405 catalogue": client.post("/"),
    }
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        wire.add("GET", re.compile(f"{SERVICE}/api/price.*"), status=500)
        wire.add("POST", re.compile(f"{SERVICE}/api/new_address.*"), status=500)
        pages["503 service"] = client.post(f"/payments/create/{product.pk}/")
    return pages


def test_the_walk_comes_everywhere(walk):
    kinds = {shape(urlsplit(path).path) for path in walk}

    assert kinds >= {
        "/",
        "/products/product-1/",
        "/basket/",
        "/payments/invoice/…/",
        "/payments/invoice/…/receipt/",
        "/admin/",
        "/admin/catalogue/product/",
        "/admin/catalogue/product/add/",
        "/admin/catalogue/product/…/change/",
        "/admin/catalogue/product/…/delete/",
        "/admin/catalogue/product/…/history/",
        "/admin/payments/invoice/",
        "/admin/payments/invoice/…/change/",
        "/admin/payments/callback/",
        "/admin/payments/callback/…/change/",
        "/admin/auth/user/add/",
        "/admin/password_change/",
        "/sandbox/",
        "/sandbox/explorer/",
        "/sandbox/address/…/",
        "/sandbox/transaction/…/",
        "/sandbox/callbacks/",
        "/sandbox/settings/",
    }


def test_no_link_leads_nowhere(walk):
    assert {path: page.status_code for path, page in walk.items() if page.status_code != 200} == {}


def test_the_errors_are_those_that_they_are_called(errors):
    for name, page in errors.items():
        assert page.status_code == int(name[:3])


def assert_strict(name, response):
    directives = policy(response)
    assert directives["default-src"] == ["'none'"], name
    assert directives["base-uri"] == directives["frame-ancestors"] == ["'none'"], name
    assert directives["script-src"] == directives["style-src"] == ["'self'"], name
    assert directives["form-action"] == ["'self'"], name
    for sources in directives.values():
        assert not {"'unsafe-inline'", "'unsafe-eval'", "*", "http:", "https:"} & set(sources), name


def test_every_page_has_a_strict_policy(walk):
    for path, page in walk.items():
        assert_strict(path, page)


def test_every_error_has_a_strict_policy(errors):
    for name, page in errors.items():
        assert_strict(name, page)


@pytest.mark.parametrize("path", ["/admin/login/", "/healthz", "/basket/", "/sandbox/"])
def test_a_strangers_page_has_a_strict_policy(client, db, path):
    assert_strict(path, client.get(path))


def test_json_and_downloads_have_a_strict_policy(client, a_busy_shop):
    paid = a_busy_shop["overpaid"]
    status = client.get(f"/payments/invoice/{paid.key}/status/")
    download = client.get(f"/payments/invoice/{paid.key}/download/{paid.lines.get().pk}/")

    assert (status.status_code, download.status_code) == (200, 200)
    assert_strict("status", status)
    assert_strict("download", download)
    assert download.getvalue() == b"a mountain, full size"


def test_no_page_needs_what_the_policy_forbids(walk):
    assert {path: Html(page.content.decode()).inline for path, page in walk.items()} == {
        path: [] for path in walk
    }


def test_no_error_needs_what_the_policy_forbids(errors):
    for name, page in errors.items():
        assert Html(page.content.decode()).inline == [], name


def test_what_is_forbidden_is_seen():
    page = """<p style="x" onclick="y"><a href="JavaScript:z">a</a><script>code()</script>
    <style>p {}</style><script type="application/json">{}</script><script src="/a.js"></script>"""

    assert len(Html(page).inline) == 5


def test_no_page_leads_to_another_host(walk, errors, settings):
    service = urlsplit(settings.BLOCKONOMICS_URL).netloc

    for path, page in {**walk, **errors}.items():
        for url in Html(page.content.decode()).urls:
            assert urlsplit(url).scheme in ("", "http", "https", "bitcoin", "data"), path
            assert urlsplit(url).netloc in {*OUR_HOSTS, service}, path


def test_every_answer_is_guarded_against_guessing_spying_and_framing(walk, errors):
    for name, page in {**walk, **errors}.items():
        assert page.headers["X-Content-Type-Options"] == "nosniff", name
        has_a_key = page.request["PATH_INFO"].startswith("/payments/invoice/")
        referrer = "no-referrer" if has_a_key else "same-origin"
        assert page.headers["Referrer-Policy"] == referrer, name
        assert page.headers["Cross-Origin-Opener-Policy"] == "same-origin", name


def test_no_page_lets_itself_be_framed(walk, errors):
    for name, page in {**walk, **errors}.items():
        # A wrong host is refused before the frame header; the policy above says it as well.
        if name != "400 wrong host":
            assert page.headers["X-Frame-Options"] == "DENY", name


def test_pages_about_money_are_kept_by_no_cache(client, a_busy_shop):
    invoice = a_busy_shop["overpaid"]

    for door in ("", "status/", "receipt/"):
        page = client.get(f"{invoice.get_absolute_url()}{door}")
        assert "no-store" in page.headers["Cache-Control"]
        assert "private" in page.headers["Cache-Control"]


def test_no_shared_cache_keeps_a_page(walk, errors):
    for name, page in {**walk, **errors}.items():
        if page.headers["Content-Type"].startswith("text/html"):
            assert "private" in page.headers["Cache-Control"], name


def test_the_doors_of_machines_are_left_as_they_are(client, call_back, invoice):
    assert call_back(invoice)["Cache-Control"] != "private", "never to be cached at all"
    for path in ("/robots.txt", "/sitemap.xml", "/healthz"):
        assert client.get(path).headers.get("Cache-Control") != "private", path


def test_the_choice_of_a_language_repeats_no_query_beside_a_key(client, invoice):
    """docs/decisions/0007-compressed-pages.md says why."""
    client.get(invoice.get_absolute_url())
    query = "?a=chosen-by-a-stranger"

    for path in (invoice.get_absolute_url(), "/purchases/", "/basket/", "/find/"):
        page = client.get(path + query).content.decode()
        assert f'name="next" value="{path}"' in page
        assert "chosen-by-a-stranger" not in page
    assert (
        'name="next" value="/?q=lake&amp;sort=price"'
        in client.get("/?q=lake&sort=price").content.decode()
    )


def test_a_shoppers_cookies_are_out_of_reach_for_scripts(client, product, invoice):
    client.post(f"/basket/{product.pk}/")
    client.get(invoice.get_absolute_url())
    client.post(f"/payments/create/{product.pk}/", {"email": "nobody"})

    names = {"visitor", "purchases", f"purchase-{invoice.pk}", "email-typed"}
    assert names <= set(client.cookies)
    for name in names:
        assert client.cookies[name]["httponly"]
        assert client.cookies[name]["samesite"] == "Lax"


def test_the_sockets_of_an_invoice_page_are_let_through(client, invoice):
    page = client.get(invoice.get_absolute_url())

    socket = re.search(r'data-socket-url="(wss?://[^/"]+)', page.content.decode())[1]

    assert "'self'" in policy(page)["connect-src"]
    assert socket in policy(page)["connect-src"]
    assert address(0) in page.content.decode()

"""A form is taken from the shop's own pages, whether or not a browser tells where it stood."""

import re

import pytest
from django.test import Client

pytestmark = pytest.mark.django_db


@pytest.fixture
def form(product, service):
    """The buy form as a browser sends it, with these headers; the answer."""

    def form(headers, token=None, cookie=True, https=False):
        browser = Client(enforce_csrf_checks=True)
        page = browser.get(product.get_absolute_url(), secure=https).content.decode()
        token = token or re.search(r'csrfmiddlewaretoken" value="([^"]+)"', page)[1]
        if not cookie:
            browser.cookies.clear()
        given = {"csrfmiddlewaretoken": token}
        path = f"/basket/{product.pk}/"
        return browser.post(path, given, headers=headers, secure=https)

    return form


SILENT = [
    {},
    {"Origin": "null"},
    {"Origin": "null", "Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sec-Fetch-Site": "none"},
]
FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "same-site"},
]


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize("headers", SILENT)
def test_a_browser_that_tells_nothing_can_buy(form, headers, https):
    assert form(headers, https=https).status_code == 302


@pytest.mark.parametrize("https", [True, False])
@pytest.mark.parametrize("headers", FOREIGN)
def test_another_site_cannot(form, headers, https):
    answer = form(headers, https=https)

    assert answer.status_code == 403
    assert "did not stand on a page of this shop" in answer.content.decode()


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}])
def test_nor_over_https_where_the_browser_names_no_page(form, headers):
    assert form(headers, https=True).status_code == 403


@pytest.mark.parametrize("headers", SILENT)
def test_a_wrong_token_is_refused_and_the_page_says_so(form, headers):
    answer = form(headers, token="x" * 64)

    assert answer.status_code == 403
    assert "is out of date" in answer.content.decode()
    assert "cookies" not in answer.content.decode()


def test_without_cookies_the_page_says_so(form):
    answer = form({}, cookie=False)

    assert answer.status_code == 403
    assert "keeps no cookies" in answer.content.decode()

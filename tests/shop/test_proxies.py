"""Whose address a request has: the visitor's, also behind proxies, whatever somebody claims."""

import logging

import pytest
from django.core.handlers.asgi import ASGIRequest
from django.http import HttpResponse
from django.test import RequestFactory
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from shop import proxies

STRANGER, HOME = "203.0.113.7", "198.51.100.20"


@pytest.fixture(autouse=True)
def a_proxy_on_this_machine(settings):
    settings.BEHIND_PROXY = True
    settings.TRUSTED_PROXIES = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8", "unix"]
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    proxies.tell_of.cache_clear()


@pytest.fixture
def arrives():
    """The request as the views see it, handed over by this peer with these headers."""

    def arrive(peer, forwarded_for=None, proto=None):
        headers = {"X-Forwarded-For": forwarded_for, "X-Forwarded-Proto": proto}
        headers = {name: value for name, value in headers.items() if value is not None}
        request = RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)
        proxies.forwarded(lambda request: HttpResponse())(request)
        return request

    return arrive


@pytest.mark.parametrize(
    ("peer", "forwarded_for", "address"),
    [
        ("127.0.0.1", HOME, HOME),
        ("10.1.2.3", HOME, HOME),
        ("127.0.0.1", f"{HOME}, 10.1.2.3", HOME),
        ("127.0.0.1", f"{STRANGER}, {HOME}", HOME),
        ("127.0.0.1", f"127.0.0.1, {STRANGER}, {HOME},10.0.0.1", HOME),
        ("127.0.0.1", "10.9.9.9, 10.1.2.3", "10.9.9.9"),
        ("127.0.0.1", "2001:db8::7", "2001:db8::7"),
        ("fd00::1", f"{HOME}", HOME),
        ("::ffff:127.0.0.1", HOME, HOME),
        ("127.0.0.1", f"{HOME}:4711", HOME),
        ("127.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("127.0.0.1", f"::ffff:{HOME}", HOME),
        ("", HOME, HOME),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", " , ,", "127.0.0.1"),
        ("127.0.0.1", "unknown", "127.0.0.1"),
        ("127.0.0.1", f"{STRANGER}, <script>", "127.0.0.1"),
    ],
)
def test_a_trusted_proxy_tells_who_is_asking(arrives, peer, forwarded_for, address):
    assert arrives(peer, forwarded_for).META["REMOTE_ADDR"] == address


@pytest.mark.parametrize("claim", ["127.0.0.1", HOME, "10.0.0.1, 127.0.0.1", "\x00", "9" * 5000])
def test_a_stranger_claims_in_vain_to_be_somebody_else(arrives, claim):
    request = arrives(STRANGER, claim)

    assert request.META["REMOTE_ADDR"] == STRANGER
    assert "HTTP_X_FORWARDED_FOR" not in request.META


@hypothesis_settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(told=st.text(alphabet=st.characters(max_codepoint=255)))
def test_no_header_is_too_strange(told):
    for peer in ("127.0.0.1", STRANGER, ""):
        request = RequestFactory().get("/", REMOTE_ADDR=peer, headers={"X-Forwarded-For": told})
        proxies.forwarded(lambda request: HttpResponse())(request)

        assert proxies.network(request) or not peer


def test_only_a_trusted_proxy_tells_that_it_is_https(arrives):
    assert arrives("127.0.0.1", HOME, "https").is_secure()
    assert not arrives("127.0.0.1", HOME, "http").is_secure()
    assert not arrives(STRANGER, proto="https").is_secure()


def test_without_a_proxy_nobody_is_believed(arrives, settings):
    settings.TRUSTED_PROXIES = []

    request = arrives("127.0.0.1", HOME, "https")

    assert request.META["REMOTE_ADDR"] == "127.0.0.1"
    assert not request.is_secure()


def test_a_unix_socket_is_believed_only_if_it_is_named(arrives, settings):
    settings.TRUSTED_PROXIES = ["127.0.0.0/8"]

    assert arrives("", HOME).META["REMOTE_ADDR"] == ""


def test_a_request_from_a_unix_socket_has_no_client_and_passes():
    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"", "client": None}
    forwarded = (b"x-forwarded-for", HOME.encode())
    with_proxy = ASGIRequest({**scope, "headers": [forwarded]}, None)
    alone = ASGIRequest({**scope, "headers": []}, None)
    middleware = proxies.forwarded(lambda request: HttpResponse())

    middleware(with_proxy)
    middleware(alone)

    assert proxies.network(with_proxy) == HOME
    assert proxies.network(alone) == ""


def test_a_proxy_of_ones_own_that_nobody_trusts_is_told_of_once(arrives, settings, caplog):
    settings.TRUSTED_PROXIES = []

    with caplog.at_level(logging.WARNING, "shop.proxies"):
        for peer in ("192.168.1.2", "192.168.1.2", "8.8.8.8"):
            arrives(peer, HOME)

    assert [line.split()[0] for line in caplog.messages] == ["192.168.1.2"]


@pytest.mark.parametrize(
    ("one", "another", "same"),
    [
        (HOME, HOME, True),
        (HOME, "198.51.100.21", False),
        (HOME, f"::ffff:{HOME}", True),
        ("::ffff:198.51.100.20", "::ffff:198.51.100.21", False),
        ("2001:db8:1:2::7", "2001:db8:1:2:ffff::1", True),
        ("2001:db8:1:2::7", "2001:db8:1:3::7", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_a_household_is_one_network(one, another, same):
    factory = RequestFactory()

    first, second = (
        proxies.network(factory.get("/", REMOTE_ADDR=address)) for address in (one, another)
    )

    assert (first == second) is same

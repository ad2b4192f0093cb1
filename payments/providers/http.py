"""HTTP for every provider: a call ends in time and in bounds, whatever the other side does.

`requests` gives each single read its timeout: a server that sends one byte now and then, in the
headers say, could hold a shopper for hours. Here connecting, headers and body share one deadline.
"""

import io
import time
from contextlib import closing
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy
from typing import NamedTuple

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3 import Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

CONNECT_SECONDS = 3
# Answers are a few hundred bytes, the longest a few thousand; more than this is not an answer.
MAX_ANSWER_BYTES = 64 * 1024


class CallFailed(Exception):
    """No whole answer came in time. The message names the kind of failure and nothing else.

    URL, headers and what was sent stay out of it: they may hold secrets.
    """


class Answer(NamedTuple):
    """The status and the whole body of an answer, a redirect's included."""

    status: int
    body: bytes


def ask(
    method: str,
    url: str,
    *,
    seconds: float,
    max_bytes: int = MAX_ANSWER_BYTES,
    **request,
) -> Answer:
    """Makes one call that ends within `seconds`; raises CallFailed without a whole answer.

    `request` is what `requests.Session.request` takes: `params`, `json`, `data`, `headers`.
    """
    deadline = time.monotonic() + seconds
    try:
        response = session.request(
            method, url, timeout=within(seconds), allow_redirects=False, stream=True, **request
        )
        with closing(response):
            return Answer(response.status_code, _read(response, deadline, max_bytes))
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise CallFailed(type(error).__name__) from error


def within(seconds: float) -> Timeout:
    """The time for a whole call, connecting included."""
    return Timeout(total=seconds, connect=min(CONNECT_SECONDS, seconds))


def _read(response: requests.Response, deadline: float, max_bytes: int) -> bytes:
    """The body, unless it is endless or drips past the deadline."""
    body = b""
    while chunk := response.raw.read1(max_bytes, decode_content=True):
        body += chunk
        if len(body) > max_bytes:
            raise requests.exceptions.ContentDecodingError("the answer is too long")
        if time.monotonic() > deadline:
            raise requests.Timeout("the answer is too slow")
    return body


class PunctualReader(io.RawIOBase):
    """Reads what a socket brings until a deadline: the timeout that the socket had at first."""

    def __init__(self, sock, raw: io.RawIOBase):
        self.sock, self.raw = sock, raw
        self.deadline = time.monotonic() + sock.gettimeout()

    def readable(self):
        return True

    def readinto(self, buffer):
        seconds_left = self.deadline - time.monotonic()
        if seconds_left <= 0:
            raise TimeoutError("the answer is too slow")
        self.sock.settimeout(seconds_left)
        return self.raw.readinto(buffer)

    def close(self):
        self.raw.close()
        super().close()


class PunctualResponse(HTTPResponse):
    def __init__(self, sock, *args, **kwargs):
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(PunctualReader(sock, self.fp.detach()))


class PunctualHTTPConnection(HTTPConnection):
    response_class = PunctualResponse


class PunctualHTTPSConnection(HTTPSConnection):
    response_class = PunctualResponse


class PunctualAdapter(HTTPAdapter):
    def get_connection_with_tls_context(self, *args, **kwargs):
        pool = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = (
            PunctualHTTPSConnection if pool.scheme == "https" else PunctualHTTPConnection
        )
        return pool


class Session(requests.Session):
    """Kept connections save a TLS handshake per purchase; cookies would only tie shoppers together.

    Redirects are not even looked at: the API key would go wherever they lead, and `requests` reads
    the whole body of one to find out, however long.
    """

    def __init__(self):
        super().__init__()
        self.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self.mount("https://", PunctualAdapter(pool_maxsize=20))
        self.mount("http://", PunctualAdapter(pool_maxsize=20))

    def get_redirect_target(self, response):
        return None


session = Session()

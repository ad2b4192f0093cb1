"""HTTP whose every call ends in time, whatever the other side does.

`requests` gives each single read its timeout: a server that sends one byte now and then, in the
headers say, could hold a shopper for hours. Here all reads of one answer share one deadline.
"""

import io
import time
from http.client import HTTPResponse
from http.cookiejar import DefaultCookiePolicy

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection

CONNECT_SECONDS = 3


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


def within(seconds: float) -> Timeout:
    """The time for a whole call, connecting included."""
    return Timeout(total=seconds, connect=min(CONNECT_SECONDS, seconds))

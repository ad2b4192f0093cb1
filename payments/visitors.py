"""One browser, known by a cookie: its basket, and the unpaid orders that it gets again.

There is no session for shoppers: what many requests at once read, change and write back gets lost.
"""

import re
import secrets
from urllib.parse import quote, unquote

from django.conf import settings
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.middleware.csrf import get_token
from django.utils.crypto import salted_hmac

COOKIE = "visitor"
FIRST_CLICKS_SECONDS = 30
# What was typed into the field for an e-mail address and is none: it has no business in an address
# bar or a log.
EMAIL_TYPED, EMAIL_TYPED_SECONDS = "email-typed", 60


def known_visitor(request: HttpRequest) -> str:
    """The visitor whose cookie came; an empty string if none did."""
    given = request.COOKIES.get(COOKIE, "")
    return given if re.fullmatch(r"[0-9a-f]{32}", given) else ""


def visitor_of(request: HttpRequest) -> str:
    """The same for all that one browser does, and nobody else's guess.

    Several first clicks at once come without the cookie yet. They have the form's CSRF cookie in
    common, by which the others find, for a moment, what the first one was called.
    """
    if found := known_visitor(request):
        return found
    get_token(request)  # makes one, should there be none yet
    drawn = salted_hmac("payments.visitor", request.META["CSRF_COOKIE"], algorithm="sha256")
    name = f"visitor-{drawn.hexdigest()}"
    return caches["strangers"].get_or_set(name, secrets.token_hex(16), FIRST_CLICKS_SECONDS)


def remember_visitor(response: HttpResponse, visitor: str) -> HttpResponse:
    return set_cookie(response, COOKIE, visitor)


def remember_typed(response: HttpResponse, email: str) -> HttpResponse:
    return set_cookie(response, EMAIL_TYPED, quote(email[:254]), seconds=EMAIL_TYPED_SECONDS)


def typed_email(request: HttpRequest) -> str:
    return unquote(request.COOKIES.get(EMAIL_TYPED, ""))[:254]


def set_cookie(
    response: HttpResponse, name: str, value: str, path: str = "/", seconds: int = 0
) -> HttpResponse:
    """One that no script reads and no other site's form sends along."""
    response.set_cookie(
        name,
        value,
        max_age=seconds or settings.VISITOR_COOKIE_AGE,
        path=path,
        secure=settings.SESSION_COOKIE_SECURE,
        httponly=True,
        samesite="Lax",
    )
    return response

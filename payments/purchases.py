"""The purchases of one browser, without an account: what was opened in it.

Each is a cookie of its own, so that none is lost when several are opened at once, and the shop
keeps no list of who opened what. They travel to "My purchases" alone; the one that says that there
are some goes everywhere.
"""

from django.core.signing import Signer
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.crypto import constant_time_compare

from .models import Invoice
from .visitors import set_cookie

SOME = "purchases"
PREFIX = "purchase-"
# Browsers keep no more than some 150 cookies of one host.
MOST_REMEMBERED = 50

signer = Signer(salt="payments.purchases")


def has_purchases(request: HttpRequest) -> bool:
    return SOME in request.COOKIES


def remember_purchase(request: HttpRequest, response: HttpResponse, invoice: Invoice):
    """By number, which opens no door; signed, so that nobody else's can be claimed."""
    name, place = f"{PREFIX}{invoice.pk}", reverse("payments:purchases")
    if name not in request.COOKIES:
        set_cookie(response, name, signer.signature(invoice.pk), path=place)
    if SOME not in request.COOKIES:
        set_cookie(response, SOME, "1")
    return response


def opened(request: HttpRequest) -> list[int]:
    """The invoices that were opened in this browser, the newest order first."""
    found = [
        int(pk)
        for name, mark in request.COOKIES.items()
        if name.startswith(PREFIX) and (pk := name.removeprefix(PREFIX)).isascii() and pk.isdigit()
        if constant_time_compare(signer.signature(int(pk)), mark)
    ]
    return sorted(found, reverse=True)


def purchases_of(request: HttpRequest):
    """Buying leads to the invoice's page, and so into this list.

    Not by `visitor`: who has the cookie of a form can make the same one, so it proves nothing.
    """
    found = Invoice.objects.filter(pk__in=opened(request)[:MOST_REMEMBERED])
    return found.with_payments().prefetch_related("lines").order_by("-pk")


def forget_the_oldest(request: HttpRequest, response: HttpResponse):
    """Makes room, before the browser throws away what it likes."""
    for pk in opened(request)[MOST_REMEMBERED:]:
        response.delete_cookie(f"{PREFIX}{pk}", path=reverse("payments:purchases"))

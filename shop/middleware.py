"""What every answer of the shop has in common."""

import logging

from django.conf import settings
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponseBadRequest
from django.middleware.gzip import GZipMiddleware
from django.shortcuts import render

logger = logging.getLogger(__name__)


def security_headers(get_response):
    """Puts the Content-Security-Policy on every answer, whatever its status.

    An address with an invoice's key in it is a secret: no other site and no search engine is told.
    Pages show a visitor's own language and basket: no cache that others share may keep them.
    """

    def middleware(request):
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY)
        if request.resolver_match and "key" in request.resolver_match.kwargs:
            response.headers["Referrer-Policy"] = "no-referrer"
            response.headers["X-Robots-Tag"] = "noindex"
        if response.headers.get("Content-Type", "").startswith("text/html"):
            response.headers.setdefault("Cache-Control", "private")
        return response

    return middleware


class CompressedPages(GZipMiddleware):
    """Compresses pages, and nothing else: goods and pictures are compressed already.

    docs/decisions/0007-compressed-pages.md says why that gives no secret away.
    """

    def process_response(self, request, response):
        if not response.get("Content-Type", "").startswith("text/html"):
            return response
        return super().process_response(request, response)


def not_found(request):
    """The same for every address, byte for byte: so no link in it leads back here."""
    return render(request, "404.html", {"here": "/"}, status=404)


class PlainErrors:
    """Errors that a visitor can cause in the shop's own words, the same with DEBUG on and off.

    Django's debug pages would show what a visitor sent (a callback's secret among it), and their
    404s would differ from key to key. Unexpected errors are left to Django.
    """

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        response = self.get_response(request)
        if response.status_code == 404 and request.resolver_match is None:
            return not_found(request)
        return response

    def process_exception(self, request, exception):
        try:
            if isinstance(exception, BadRequest | SuspiciousOperation):
                return self.refusal(request, exception)
            if isinstance(exception, Http404):
                return not_found(request)
        except (OperationalError, InterfaceError) as error:
            exception = error  # even that page asks for the visitor's basket
        if isinstance(exception, OperationalError | InterfaceError):
            logger.error("The database does not answer: %s", exception)
            response = render(request, "503.html", status=503)
            response["Retry-After"] = "10"
            return response
        return None

    def refusal(self, request, exception):
        """A line of text for programs, a page for a browser; a BadRequest's words are our own."""
        if "text/html" not in request.headers.get("Accept", ""):
            return HttpResponseBadRequest(f"{exception}\n", content_type="text/plain")
        reason = str(exception) if isinstance(exception, BadRequest) else ""
        return render(request, "400.html", {"reason": reason}, status=400)

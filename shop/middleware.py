"""What every answer of the shop has in common."""

import logging

from django.conf import settings
from django.core.exceptions import BadRequest, SuspiciousOperation
from django.db import InterfaceError, OperationalError
from django.http import Http404, HttpResponseBadRequest
from django.shortcuts import render

logger = logging.getLogger(__name__)


def security_headers(get_response):
    """Puts the Content-Security-Policy on every answer, whatever its status."""

    def middleware(request):
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", settings.CONTENT_SECURITY_POLICY)
        return response

    return middleware


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
            return render(request, "404.html", status=404)
        return response

    def process_exception(self, request, exception):
        if isinstance(exception, BadRequest | SuspiciousOperation):
            return HttpResponseBadRequest(f"{exception}\n", content_type="text/plain")
        try:
            if isinstance(exception, Http404):
                return render(request, "404.html", status=404)
        except (OperationalError, InterfaceError) as error:
            exception = error  # even that page asks for the visitor's basket
        if isinstance(exception, OperationalError | InterfaceError):
            logger.error("The database does not answer: %s", exception)
            response = render(request, "503.html", status=503)
            response["Retry-After"] = "10"
            return response
        return None

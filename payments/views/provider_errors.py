"""What a shopper reads, and the merchant hears, when a payment service makes trouble."""

import functools
import logging

from django.shortcuts import render

from payments import outbox
from payments.providers.base import ProviderError, ProviderUnavailable
from payments.stock import OutOfStock

logger = logging.getLogger(__name__)


def explaining_provider_errors(view):
    """Turns a provider's error into a log line for the merchant and a page for the shopper.

    With an invoice's key, the page is about an order that stands; else nothing was ordered.
    """

    @functools.wraps(view)
    def wrapped(request, *args, **kwargs):
        try:
            return view(request, *args, **kwargs)
        except OutOfStock as error:
            context = {"product": error.product, "key": kwargs.get("key")}
            return render(request, "payments/sold_out.html", context, status=409)
        except ProviderError as error:
            logger.error("%s", error)
            if error.is_alarming:
                outbox.alarm_hourly(str(error))
            may_help = isinstance(error, ProviderUnavailable)
            response = render(
                request,
                "payments/trouble.html",
                {
                    "explanation": error.explanation,
                    "trying_again_may_help": may_help,
                    "key": kwargs.get("key"),
                },
                status=503 if may_help else 502,
            )
            if may_help:
                response["Retry-After"] = "30"
            return response

    return wrapped

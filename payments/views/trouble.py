"""What a shopper reads, and the merchant hears, when a payment service makes trouble."""

import functools
import logging
from datetime import timedelta

from django.db import transaction
from django.shortcuts import render

from payments import tasks
from payments.models import OutOfStock, Turn
from payments.providers.base import ProviderError, ProviderUnavailable

logger = logging.getLogger(__name__)

# One mail in this time is alarm enough.
ALARM_PAUSE = timedelta(hours=1)


def alarm(text: str):
    """Has the merchant told, once an hour: whichever process sees it, and never half."""
    with transaction.atomic():
        if Turn.objects.take("alarm", ALARM_PAUSE):
            tasks.alarm(text)


def telling_of_trouble(view):
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
            if error.alarming:
                alarm(str(error))
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

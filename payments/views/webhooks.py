"""The doors that payment services knock at."""

import logging

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.http import Http404, HttpResponse, HttpResponseBadRequest, HttpResponseNotAllowed
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt

from payments import ingestion, providers
from payments.providers.base import MethodNotAllowed

logger = logging.getLogger(__name__)


@csrf_exempt
@never_cache
def callback(request, provider):
    """A payment service reports what happened.

    200: noted, or known already, or none of our business; it need not be sent again.
    400: it makes no sense. 403: it does not prove where it comes from. 405: never by this method.
    503: trouble on our side; send it again, nothing is lost.
    """
    if provider not in providers.PROVIDERS:
        raise Http404
    service = providers.get(provider)
    try:
        return service.acknowledge(ingestion.receive_callback(service, request))
    except MethodNotAllowed as error:
        return HttpResponseNotAllowed(error.allowed)
    except PermissionDenied as error:
        return HttpResponse(f"{error}\n", status=403, content_type="text/plain")
    except (BadRequest, SuspiciousOperation) as error:
        return HttpResponseBadRequest(f"{error}\n", content_type="text/plain")
    except Exception:
        logger.exception("A callback could not be recorded; the sender is asked to try again.")
        return HttpResponse(
            "Trouble here; please send it again.\n",
            status=503,
            content_type="text/plain",
            headers={"Retry-After": "10"},
        )

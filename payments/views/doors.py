"""The doors of services and machines."""

import logging

from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.db import connection
from django.http import Http404, HttpResponse, HttpResponseBadRequest
from django.shortcuts import redirect
from django.templatetags.static import static
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_safe

from payments import providers
from payments.models import Callback

logger = logging.getLogger(__name__)


@csrf_exempt
@never_cache
@require_http_methods(["GET"])
def callback(request, provider):
    """A payment service reports what happened on the network.

    200: noted, or known already, or none of our business; it need not be sent again.
    400: it makes no sense. 403: it does not prove where it comes from.
    503: trouble on our side; send it again, nothing is lost.
    """
    if provider not in providers.PROVIDERS:
        raise Http404
    service = providers.get(provider)
    try:
        return service.acknowledge(Callback.objects.receive(service, request))
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


@never_cache
@require_safe
def healthz(request):
    """200 when the database answers; a database that does not ends in a 503."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    return HttpResponse("ok", content_type="text/plain")


@require_safe
def favicon(request):
    """Browsers ask for it on pages that do not name one, such as the desk."""
    return redirect(static("img/favicon.svg"))

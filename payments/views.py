import functools
import logging
import secrets
import time
from contextlib import contextmanager
from datetime import timedelta
from math import ceil

from django.conf import settings
from django.core.cache import cache
from django.core.exceptions import BadRequest, PermissionDenied, SuspiciousOperation
from django.core.paginator import Paginator
from django.db import connection, transaction
from django.http import Http404, HttpResponse, HttpResponseBadRequest, JsonResponse
from django.middleware.csrf import get_token
from django.shortcuts import get_object_or_404, redirect, render
from django.templatetags.static import static
from django.utils import timezone
from django.utils.crypto import salted_hmac
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from . import database, providers, qr, tasks
from .basket import Basket, total
from .forms import QuantityForm
from .goods import GoodsResponse
from .models import Callback, Event, Invoice, InvoiceLine, Line, Product, Turn
from .providers.base import ProviderError, ProviderUnavailable

logger = logging.getLogger(__name__)

PRODUCTS_PER_PAGE = 12
# Longer than all that a purchase may wait for.
TURN_SECONDS = 30
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


@contextmanager
def one_at_a_time(visitor: str):
    """Lets the second click of a double click wait, so that it finds the first one's invoice."""
    name, ticket = f"buying-{visitor}", secrets.token_hex(8)
    deadline = time.monotonic() + TURN_SECONDS
    while not cache.add(name, ticket, TURN_SECONDS) and time.monotonic() < deadline:
        database.release()
        time.sleep(0.05)
    try:
        yield
    finally:
        if cache.get(name) == ticket:
            cache.delete(name)


def visitor_of(request) -> str:
    """The same for all that one browser does, also for two first clicks at once.

    It is drawn from the form's CSRF cookie, as before the first purchase there is no session yet.
    """
    get_token(request)  # makes one, should there be none yet
    drawn = salted_hmac("payments.visitor", request.META["CSRF_COOKIE"], algorithm="sha256")
    return request.session.setdefault("visitor", drawn.hexdigest()[:32])


# The shelf


@require_safe
def shelf(request):
    words = request.GET.get("q", "").replace("\0", "").strip()[:100]
    products = Product.objects.on_sale().matching(words)
    page = Paginator(products, PRODUCTS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "payments/shelf.html", {"page": page, "words": words})


@require_safe
def product(request, slug):
    found = get_object_or_404(Product.objects.on_sale(), slug=slug)
    return render(request, "payments/product.html", {"product": found})


@require_safe
def basket(request):
    lines = Basket(request.session).lines()
    return render(request, "payments/basket.html", {"lines": lines, "total": total(lines)})


@require_POST
def change_basket(request, pk):
    """Puts one more of the product into the basket or, with a quantity, makes it so many."""
    product = get_object_or_404(Product.objects.on_sale(), pk=pk)
    if "quantity" not in request.POST:
        Basket(request.session).add(product)
    elif (form := QuantityForm(request.POST)).is_valid():
        Basket(request.session).put(product, form.cleaned_data["quantity"])
    else:
        raise BadRequest(f"quantity: {form.errors['quantity'][0]}")
    return redirect("payments:basket")


# Buying


@require_POST
@telling_of_trouble
def create_payment(request, pk=None):
    """Buys the product, or the basket, and leads to the invoice.

    A visitor whose unpaid invoice over the same goods still stands gets that one again.
    """
    if pk is None:
        lines = Basket(request.session).lines()
    else:
        lines = [Line(get_object_or_404(Product.objects.on_sale(), pk=pk))]
    if not lines:
        return redirect("payments:basket")
    visitor = visitor_of(request)
    provider = providers.get("blockonomics")
    with one_at_a_time(visitor):
        invoice = Invoice.objects.standing_for(visitor, lines)
        if invoice is None:
            invoice = Invoice.objects.create_for(lines, provider, visitor)
    return redirect(invoice)


# The invoice


@never_cache
@require_safe
def invoice(request, key):
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    now = timezone.now()
    settlement = found.conclusion(now)
    if settlement in (found.Settlement.CONFIRMING, found.Settlement.PAID):
        Basket(request.session).take_out(found)
    provider = providers.get(found.provider)
    return render(
        request,
        "payments/invoice.html",
        {
            "invoice": found,
            "settlement": settlement,
            "revision": found.revision(now),
            "steps": found.steps(),
            "seconds_left": max(0, ceil((found.expires_at - now).total_seconds())),
            "qr_code": qr.svg(found.bitcoin_uri),
            "socket_url": provider.socket_url(found.reference),
            "demo_wallet_url": _demo_wallet_url(request, found),
        },
    )


def _demo_wallet_url(request, invoice):
    """Where the sandbox's wallet pays this invoice; nowhere in a real shop."""
    if not settings.SANDBOX:
        return ""
    back = request.build_absolute_uri(invoice.get_absolute_url())
    query = urlencode({"uri": invoice.bitcoin_uri, "return": back})
    return f"{settings.BLOCKONOMICS_URL}/?{query}"


@never_cache
@require_safe
def invoice_status(request, key):
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    now = timezone.now()
    books = found.books
    return JsonResponse(
        {
            "order": found.order,
            "status": found.status,
            "settlement": found.conclusion(now),
            "due": found.due,
            "outstanding": found.outstanding,
            "received": books.received,
            "confirmed": books.confirmed,
            "overpaid": found.overpaid,
            "replaceable": found.has_replaceable,
            "late": found.has_late,
            "asset": found.asset,
            "address": found.reference,
            "rate": f"{found.rate.normalize():f}",
            "currency": found.currency,
            "total": str(found.total),
            "expires_at": found.expires_at.isoformat(),
            "paid_at": found.paid_at.isoformat() if found.paid_at else None,
            "revision": found.revision(now),
        }
    )


@require_POST
@telling_of_trouble
def quote(request, key):
    """A fresh quote on the same address, if the old one is over or too little came in."""
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    found.requote(providers.get(found.provider))
    return redirect(found)


@never_cache
@require_safe
def receipt(request, key):
    found = get_object_or_404(Invoice.objects.with_key(key).paid().complete())
    return render(request, "payments/receipt.html", {"invoice": found})


@never_cache
@require_safe
def download(request, key, line):
    """The goods, once paid; any other combination of key and line is a 404."""
    bought = Invoice.objects.with_key(key)
    found = get_object_or_404(InvoiceLine.objects.deliverable(), invoice__in=bought, pk=line)
    try:
        response = GoodsResponse(found.goods)
        if request.method == "GET":
            found.invoice.log(Event.Kind.DOWNLOADED, "shopper", found.title)
        return response
    except FileNotFoundError as error:
        logger.error("The file of product %s is not in the goods folder.", found.product_id)
        raise Http404 from error


# The services' doors


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

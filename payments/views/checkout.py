"""The way from a product or a basket to an invoice."""

import secrets
import time
from contextlib import contextmanager

from django.core.cache import cache
from django.shortcuts import get_object_or_404, redirect
from django.utils.translation import get_language
from django.views.decorators.http import require_POST

from catalogue.models import Product
from payments import checkout, database, notifications, providers
from payments.basket import Basket
from payments.forms import OptionalEmailForm
from payments.models import Line
from payments.open_invoice_limits import too_many_open
from payments.rate_limits import limited, refused
from payments.visitors import known_visitor, remember_visitor, visitor_of

from .order_lookup import ask_again
from .provider_errors import explaining_provider_errors

# Longer than all that a purchase may wait for.
TURN_SECONDS = 30


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


@require_POST
@limited("purchases")
@explaining_provider_errors
def create_payment(request, pk=None):
    """Buys the product, or the basket, and leads to the invoice.

    A visitor whose unpaid invoice over the same goods still stands gets that one again. With an
    e-mail address that cannot be one, nothing happens, and the shopper stays where they are.
    """
    if pk is None:
        lines = Basket(known_visitor(request)).lines()
    else:
        lines = [Line(get_object_or_404(Product.objects.on_sale(), pk=pk))]
    if not lines:
        return redirect("payments:basket")
    form = OptionalEmailForm(request.POST)
    if not form.is_valid():
        return ask_again(request, "payments:basket" if pk is None else lines[0].product)
    email = form.cleaned_data["email"]
    if email and (page := refused("e-mails", request, recipient=email)):
        return page
    visitor, provider = visitor_of(request), providers.default()
    with one_at_a_time(visitor):
        invoice = checkout.reusable_for(visitor, lines)
        if invoice is None and (page := too_many_open(request, visitor, provider)):
            return page
        if invoice is None:
            language = get_language() or ""
            invoice = checkout.place_order(lines, provider, visitor, email, language)
        else:
            notifications.subscribe(invoice, email)
    if pk is None:
        Basket(visitor).note_order(invoice)
    return remember_visitor(redirect(invoice), visitor)

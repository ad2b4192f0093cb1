"""From lines to an invoice that can be paid."""

from django.conf import settings
from django.db import transaction
from django.utils import timezone

from . import notifications, quoting, stock
from .models import Event, Invoice, InvoiceLine, Line, Mail, PaymentAttempt
from .providers.base import OrderLine, Provider

REMEMBERED = 20


def reusable_for(visitor: str, lines: list[Line]) -> Invoice | None:
    """The visitor's unpaid invoice over the very same lines: addresses are scarce."""
    if not visitor:
        return None
    wanted = {(line.product.pk, line.quantity, line.product.price) for line in lines}
    own = Invoice.objects.unpaid().filter(visitor=visitor, currency=settings.SHOP_CURRENCY)
    now = timezone.now()
    for invoice in own.complete().order_by("-pk")[:REMEMBERED]:
        if invoice.has_ended(now):
            continue
        rows = invoice.lines.all()
        if wanted == {(row.product_id, row.quantity, row.unit_price) for row in rows}:
            return invoice
    return None


def place_order(
    lines: list[Line],
    provider: Provider,
    visitor: str = "",
    email: str = "",
    language: str = "",
) -> Invoice:
    """Makes a new invoice over the lines, with a first attempt at the provider.

    Talks to the provider first and writes afterwards, all or nothing. Raises ProviderError, or
    OutOfStock if there are not as many left as are wanted.
    """
    for line in lines:
        if not line.is_in_stock:
            raise stock.OutOfStock(line.product)
    invoice = Invoice(
        currency=settings.SHOP_CURRENCY,
        total=sum(line.amount for line in lines),
        visitor=visitor,
        email=email,
        language=language,
        tax_name=settings.TAX_NAME if settings.TAX_RATE else "",
        tax_rate=settings.TAX_RATE,
    )
    attempt = quoting.start_attempt(invoice, provider, invoice.total, _order_lines(lines))
    with quoting.saving(provider, attempt), transaction.atomic():
        _save(invoice, attempt, lines)
    return invoice


def _save(invoice: Invoice, attempt: PaymentAttempt, lines: list[Line]):
    invoice.save(force_insert=True)
    attempt.invoice = invoice
    attempt.save(force_insert=True)
    InvoiceLine.objects.bulk_create(InvoiceLine.of(invoice, line) for line in lines)
    stock.reserve(invoice)
    invoice.log(Event.Kind.CREATED, "shopper", attempt.quote_in_words())
    notifications.notify(invoice, Mail.Kind.CREATED)


def _order_lines(lines: list[Line]) -> tuple[OrderLine, ...]:
    return tuple(OrderLine(line.product.title, line.quantity, line.product.price) for line in lines)

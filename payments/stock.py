"""Goods that are set aside for an order, put back, or owed; the order's row is locked meanwhile.

Products are locked in the order of their numbers, so that two purchases never wait for each
other; the invoice, if it is there already, before them.
"""

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q
from django.utils import timezone

from . import live, outbox, review
from .models import Event, Invoice, InvoiceLine, PaymentAttempt, Product
from .settlement import Settlement

Stock = InvoiceLine.Stock

# So many quotes keep the goods without a payment: the first one and its renewal.
FREE_QUOTES = 2
ORDERS_AT_A_TIME = 100


class OutOfStock(Exception):
    """Of this product there are not as many left as are wanted."""

    def __init__(self, product: Product):
        super().__init__(str(product))
        self.product = product


def may_hold(invoice: Invoice, at: datetime) -> bool:
    """Whether goods are kept for an order that is not covered.

    Without money for the first quote and its renewal, else for STOCK_HOURS: then they are for
    whoever pays first.
    """
    is_young = at < (invoice.created_at or at) + settings.STOCK_HOLD
    return is_young and (bool(invoice.known_transactions) or invoice.quote_count <= FREE_QUOTES)


def reserve(invoice: Invoice):
    """Sets the order's goods aside until its quote is over; raises OutOfStock if there are too few.

    Where they may be kept no longer, it is enough that there are as many.
    """
    if may_hold(invoice, timezone.now()):
        lacking = _take(invoice.lines.limited().exclude(stock=Stock.HELD))
    else:
        _put_back(invoice, by="shopper")
        lacking = invoice.lines.limited().out_of_stock()
    if lacking:
        raise OutOfStock(lacking[0].product)


def release_overdue():
    """Puts back on sale what is set aside for orders that nobody pays before long.

    Nothing else ends a hold, and nothing need be remembered for it: the database knows at any
    time which ones are over.
    """
    for pk in list(_overdue().values_list("pk", flat=True)[:ORDERS_AT_A_TIME]):
        with transaction.atomic():
            invoice = Invoice.objects.locked().get(pk=pk)
            if _overdue().filter(pk=pk).exists():
                _put_back(invoice, by="worker")


def _overdue():
    """Orders with goods set aside whose quotes are over, and that nobody began to pay or that
    have had their time.
    """
    now = timezone.now()
    has_had_its_time = Q(created_at__lte=now - settings.STOCK_HOLD)
    quotes = PaymentAttempt.objects.filter(
        invoice=OuterRef("pk"), expires_at__gt=now - settings.QUOTE_GRACE
    )
    return (
        Invoice.objects.unpaid()
        .filter(Q(settlement=Settlement.WAITING) | has_had_its_time)
        .filter(Exists(InvoiceLine.objects.held().filter(invoice=OuterRef("pk"))))
        .exclude(Exists(quotes))
        .order_by("pk")
    )


def follow_settlement(invoice: Invoice, before: str, by: str):
    """Does what a settlement that has changed means for the goods that were set aside."""
    if invoice.settlement == before:
        return
    if invoice.settlement in (Settlement.WAITING, Settlement.CANCELLED):
        # Nobody pays for them any more.
        invoice.lines.backordered().update(stock=Stock.RETURNED)
        if invoice.settlement == Settlement.CANCELLED:
            _put_back(invoice, by)
    elif invoice.settlement != Settlement.UNDERPAID or may_hold(invoice, timezone.now()):
        _take_again(invoice, by)


def allocate_backorder(invoice: Invoice, by: str) -> bool:
    """Sets aside what was sold out when the money came; False if there are still too few.

    Whoever asked for the money back, or got it, is not served as well.
    """
    if invoice.attempt.refund or invoice.cancelled_at:
        return False
    without = invoice.lines.backordered()
    wanted = without.count()
    lacking = _take(without)
    if len(lacking) < wanted:
        note = "took from the new stock what was lacking"
        invoice.log(Event.Kind.STAFF_ACTION, by, note)
        live.announce_after_commit(invoice)
    return not lacking


def allocate_backorders(product_id: int, by: str) -> int:
    """There are more of it again: serves the orders that go without, the oldest first."""
    lines = InvoiceLine.objects.backordered().filter(product=product_id)
    served = 0
    for pk in lines.order_by("invoice_id").values_list("invoice_id", flat=True):
        with transaction.atomic():
            served += allocate_backorder(Invoice.objects.locked().get(pk=pk), by)
    return served


def _take(lines) -> list[InvoiceLine]:
    """Sets these lines' goods aside, where there are enough; returns the lines that go without."""
    rows = lines.select_related("product").order_by("product_id")
    return [line for line in rows if not _take_line(line)]


def _take_line(line: InvoiceLine) -> bool:
    """A conditional UPDATE: of several shoppers at once, no two get the last one."""
    product = Product.objects.filter(pk=line.product_id)
    if product.filter(stock__gte=line.quantity).update(stock=F("stock") - line.quantity):
        line.mark(Stock.HELD)
        return True
    if product.filter(stock=None).exists():
        line.mark(Stock.UNLIMITED)
        return True
    return False


def _take_again(invoice: Invoice, by: str):
    """Money came after the goods were put back: they are taken again, if there are any left."""
    lacking = _take(invoice.lines.filter(stock=Stock.RETURNED))
    for line in lacking:
        line.mark(Stock.BACKORDERED)
    if lacking:
        reason = f"sold out before the money came: {', '.join(map(str, lacking))}"
        invoice.log(Event.Kind.REVIEW, by, reason)
        review.ask_for_review(invoice, reason)


def _put_back(invoice: Invoice, by: str):
    given = list(invoice.lines.held().order_by("product_id"))
    for line in given:
        Product.objects.filter(pk=line.product_id).update(stock=F("stock") + line.quantity)
        line.mark(Stock.RETURNED)
    if given:
        invoice.log(Event.Kind.STOCK_RELEASED, by, ", ".join(map(str, given)))
    for line in given:
        outbox.enqueue(outbox.ALLOCATE_BACKORDERS, line.product_id)

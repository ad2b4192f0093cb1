"""Goods that are set aside for an order, put back, or owed; the order's row is locked meanwhile.

Products are locked in the order of their numbers, so that two purchases never wait for each
other; the invoice, if it is there already, before them.
"""

from datetime import datetime

from django.conf import settings
from django.db import transaction
from django.db.models import F
from django.utils import timezone

from . import live, outbox, review
from .models import Event, Invoice, InvoiceLine, Product
from .settlement import Settlement

Stock = InvoiceLine.Stock


class OutOfStock(Exception):
    """Of this product there are not as many left as are wanted."""

    def __init__(self, product: Product):
        super().__init__(str(product))
        self.product = product


def held_until(invoice: Invoice) -> datetime:
    """Until then goods are kept for an order that is not covered."""
    return (invoice.created_at or timezone.now()) + settings.STOCK_HOLD


def reserve(invoice: Invoice):
    """Sets the order's goods aside until its quote is over; raises OutOfStock if there are too few.

    For no longer than STOCK_HOURS in all: then they are for whoever pays first.
    """
    missing = invoice.lines.limited().exclude(stock=Stock.HELD)
    may_hold = timezone.now() < held_until(invoice)
    lacking = _take(missing) if may_hold else missing.out_of_stock()
    if lacking:
        raise OutOfStock(lacking[0].product)
    schedule_release(invoice)


def schedule_release(invoice: Invoice):
    """Has a worker look again when the time of what is set aside is over."""
    if invoice.lines.held().exists():
        over = invoice.expires_at + settings.QUOTE_GRACE
        if invoice.settlement == Settlement.UNDERPAID and over <= timezone.now():
            over = held_until(invoice)
        run_after = max(over, timezone.now())
        outbox.enqueue(outbox.RELEASE_STOCK, invoice.pk, run_after=run_after)


def release_stock(invoice: Invoice, by: str):
    """Puts the goods back on sale, unless they are paid for or may be, before long."""
    now = timezone.now()
    balance = invoice.balance_at(now)
    is_short = balance.settlement == Settlement.UNDERPAID and balance.is_quote_over
    if is_short and now < held_until(invoice):
        schedule_release(invoice)
    elif is_short or balance.settlement in (Settlement.EXPIRED, Settlement.CANCELLED):
        _put_back(invoice, by)


def release_stock_when_due(pk: int):
    """The invoice's quote may be over: what nobody pays for is for sale again."""
    with transaction.atomic():
        release_stock(Invoice.objects.locked().get(pk=pk), by="worker")


def follow_settlement(invoice: Invoice, before: str, by: str):
    """Does what a settlement that has changed means for the goods that were set aside."""
    if invoice.settlement == before:
        return
    if invoice.settlement in (Settlement.WAITING, Settlement.CANCELLED):
        # Nobody pays for them any more.
        invoice.lines.backordered().update(stock=Stock.RETURNED)
        release_stock(invoice, by)
        schedule_release(invoice)
    else:
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
        schedule_release(invoice)
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

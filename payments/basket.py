"""The basket: what one visitor means to buy."""

from decimal import Decimal
from functools import cached_property

from .models import BasketLine, Invoice, Line


class Basket:
    """What is in it, at today's prices; what is no longer on sale is left out."""

    def __init__(self, visitor: str):
        self.visitor = visitor

    @cached_property
    def rows(self) -> list[BasketLine]:
        if not self.visitor:
            return []
        on_sale = BasketLine.objects.filter(visitor=self.visitor, product__active=True)
        return list(on_sale.select_related("product").order_by("product__title", "pk"))

    def lines(self) -> list[Line]:
        return [Line(row.product, row.quantity) for row in self.rows]

    @property
    def count(self) -> int:
        return sum(row.quantity for row in self.rows)

    def note_order(self, invoice: Invoice):
        """It was ordered with this invoice: once that is covered, these goods leave the basket."""
        BasketLine.objects.filter(visitor=self.visitor).update(ordered_with=invoice)


def total(lines: list[Line]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))

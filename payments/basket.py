"""The basket: what one shopper means to buy, kept on the server in the session."""

from dataclasses import dataclass
from decimal import Decimal

from .models import Line, Product

MAX_QUANTITY = 99


@dataclass
class Basket:
    session: dict

    @property
    def quantities(self) -> dict[str, int]:
        return self.session.get("basket", {})

    def put(self, product: Product, quantity: int) -> None:
        """Makes it so many of the product; none removes it."""
        quantities = dict(self.quantities)
        quantities[str(product.pk)] = min(quantity, MAX_QUANTITY)
        self.session["basket"] = {pk: number for pk, number in quantities.items() if number > 0}

    def add(self, product: Product) -> None:
        self.put(product, self.quantities.get(str(product.pk), 0) + 1)

    def note_order(self, invoice) -> None:
        """The basket itself was ordered with this invoice; by number, which opens no door."""
        self.session["ordered"] = invoice.pk

    def take_out(self, invoice) -> None:
        """Forgets what was ordered with this invoice, once; other invoices leave it alone."""
        if self.session.get("ordered") != invoice.pk:
            return
        bought = {str(line.product_id) for line in invoice.lines.all()}
        self.session["basket"] = {
            pk: number for pk, number in self.quantities.items() if pk not in bought
        }
        del self.session["ordered"]

    def lines(self) -> list[Line]:
        """What is in it, at today's prices; what is no longer on sale is forgotten."""
        products = Product.objects.on_sale().filter(pk__in=self.quantities).order_by("title")
        lines = [Line(product, self.quantities[str(product.pk)]) for product in products]
        if len(lines) < len(self.quantities):
            self.session["basket"] = {str(line.product.pk): line.quantity for line in lines}
        return lines

    @property
    def count(self) -> int:
        return sum(self.quantities.values())


def total(lines: list[Line]) -> Decimal:
    return sum((line.amount for line in lines), Decimal(0))

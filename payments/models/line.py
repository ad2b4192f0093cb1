from dataclasses import dataclass
from decimal import Decimal

from django.db import models
from django.db.models import F
from django.db.models.fields.files import FieldFile

from catalogue.models import Product


@dataclass(frozen=True)
class Line:
    """One line of a purchase to be: so many of this product, at today's price."""

    product: Product
    quantity: int = 1

    @property
    def amount(self) -> Decimal:
        return self.product.price * self.quantity

    @property
    def is_in_stock(self) -> bool:
        return self.product.stock is None or self.product.stock >= self.quantity


class InvoiceLineQuerySet(models.QuerySet):
    def deliverable(self):
        """Lines with a file to hand over, whose invoice is paid."""
        paid = self.filter(invoice__settlement="paid", file__gt="")
        return paid.exclude(stock=InvoiceLine.Stock.BACKORDERED).select_related(
            "product", "invoice"
        )

    def limited(self):
        """Lines of products that there are only so many of."""
        return self.filter(product__stock__isnull=False)

    def held(self):
        return self.filter(stock=InvoiceLine.Stock.HELD)

    def backordered(self):
        return self.filter(stock=InvoiceLine.Stock.BACKORDERED)

    def out_of_stock(self) -> list:
        """The lines that ask for more than there is just now."""
        return list(self.filter(product__stock__lt=F("quantity")).select_related("product"))


class InvoiceLine(models.Model):
    """One product on an invoice, with the title and price of that day."""

    class Stock(models.TextChoices):
        UNLIMITED = "", "Unlimited"
        HELD = "held", "Set aside"
        RETURNED = "returned", "Put back, as nobody paid"
        BACKORDERED = "backordered", "Sold out before the money came"

    invoice = models.ForeignKey("Invoice", on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="lines")
    title = models.CharField(max_length=120)
    unit_price = models.DecimalField(max_digits=17, decimal_places=4)
    quantity = models.PositiveSmallIntegerField(default=1)
    file = models.CharField(
        max_length=255, blank=True, help_text="The file that was sold, whatever is sold now."
    )
    file_name = models.CharField(max_length=255, blank=True)
    stock = models.CharField(max_length=12, choices=Stock, blank=True, default=Stock.UNLIMITED)

    objects = InvoiceLineQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(fields=["invoice", "product"], name="one_line_per_product"),
            models.CheckConstraint(
                condition=models.Q(quantity__gt=0), name="a_line_has_a_quantity"
            ),
        ]
        indexes = [
            models.Index(
                fields=["product"],
                name="lines_backordered",
                condition=models.Q(stock="backordered"),
            ),
        ]

    def __str__(self):
        return f"{self.quantity} × {self.title}"

    @classmethod
    def of(cls, invoice, line: Line) -> "InvoiceLine":
        return cls(
            invoice=invoice,
            product=line.product,
            title=line.product.title,
            unit_price=line.product.price,
            quantity=line.quantity,
            file=line.product.file.name,
            file_name=line.product.file_name,
        )

    @property
    def amount(self) -> Decimal:
        return self.unit_price * self.quantity

    @property
    def goods(self) -> FieldFile:
        """The file that was sold."""
        field = Product._meta.get_field("file")
        return FieldFile(self.product, field, self.file)

    @property
    def is_backordered(self) -> bool:
        return self.stock == self.Stock.BACKORDERED

    def mark(self, stock: Stock):
        self.stock = stock
        self.save(update_fields=["stock"])

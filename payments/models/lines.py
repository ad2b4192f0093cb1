from dataclasses import dataclass
from decimal import Decimal

from django.db import models
from django.db.models import F
from django.db.models.fields.files import FieldFile

from .products import Product


class OutOfStock(Exception):
    """Of this product there are not as many left as are wanted."""

    def __init__(self, product: Product):
        super().__init__(str(product))
        self.product = product


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
        return paid.exclude(stock=InvoiceLine.Stock.LACKING).select_related("product", "invoice")

    def take(self) -> list:
        """Sets these lines' goods aside, if there are enough; returns the lines that go without.

        Products are locked in the order of their numbers, so that two purchases never wait for
        each other; the invoice, if it is there already, before them.
        """
        lacking = []
        for line in self.select_related("product").order_by("product_id"):
            if not line.take():
                lacking.append(line)
        return lacking

    def too_many(self) -> list:
        """The lines that ask for more than there is just now."""
        return list(self.filter(product__stock__lt=F("quantity")).select_related("product"))

    def give_back(self) -> list:
        """Puts what was set aside for these lines back on the shelf; returns those lines."""
        given = []
        for line in self.filter(stock=InvoiceLine.Stock.HELD).order_by("product_id"):
            Product.objects.filter(pk=line.product_id).update(stock=F("stock") + line.quantity)
            line.mark(InvoiceLine.Stock.RETURNED)
            given.append(line)
        return given


class InvoiceLine(models.Model):
    """One product on an invoice, with the title and price of that day."""

    class Stock(models.TextChoices):
        UNLIMITED = "", "Unlimited"
        HELD = "held", "Set aside"
        RETURNED = "returned", "Put back, as nobody paid"
        LACKING = "lacking", "Sold out before the money came"

    invoice = models.ForeignKey("Invoice", on_delete=models.CASCADE, related_name="lines")
    product = models.ForeignKey(Product, on_delete=models.PROTECT, related_name="lines")
    title = models.CharField(max_length=120)
    unit_price = models.DecimalField(max_digits=12, decimal_places=2)
    quantity = models.PositiveSmallIntegerField(default=1)
    file = models.CharField(
        max_length=100, blank=True, help_text="The file that was sold, whatever is sold now."
    )
    stock = models.CharField(max_length=8, choices=Stock, blank=True, default=Stock.UNLIMITED)

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
                fields=["product"], name="lines_lacking", condition=models.Q(stock="lacking")
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
    def is_lacking(self) -> bool:
        return self.stock == self.Stock.LACKING

    def take(self) -> bool:
        """Sets its goods aside; False if there are not enough.

        A conditional UPDATE: of several shoppers at once, no two get the last one.
        """
        product = Product.objects.filter(pk=self.product_id)
        if product.filter(stock__gte=self.quantity).update(stock=F("stock") - self.quantity):
            self.mark(self.Stock.HELD)
            return True
        if product.filter(stock=None).exists():
            self.mark(self.Stock.UNLIMITED)
            return True
        return False

    def mark(self, stock: Stock):
        self.stock = stock
        self.save(update_fields=["stock"])

from datetime import timedelta

from django.conf import settings
from django.db import IntegrityError, models, transaction
from django.db.models import F
from django.db.models.functions import Least
from django.utils import timezone

from catalogue.models import Product

from .invoice import Invoice

MAX_QUANTITY = 99


class BasketLineQuerySet(models.QuerySet):
    def add(self, visitor: str, product: Product):
        """One more of the product; of many at once, each one counts."""
        line = self.filter(visitor=visitor, product=product)
        more = {"quantity": Least(F("quantity") + 1, MAX_QUANTITY), "changed_at": timezone.now()}
        if line.update(**more):
            return
        try:
            with transaction.atomic():
                self.create(visitor=visitor, product=product, quantity=1)
        except IntegrityError:  # another request was first
            line.update(**more)

    def put(self, visitor: str, product: Product, quantity: int):
        """Makes it so many of the product; none removes it."""
        if quantity <= 0:
            self.filter(visitor=visitor, product=product).delete()
            return
        told = {"quantity": min(quantity, MAX_QUANTITY), "changed_at": timezone.now()}
        self.update_or_create(visitor=visitor, product=product, defaults=told)

    def forget_old(self):
        """Baskets that nobody has touched for as long as a visitor is known."""
        limit = timezone.now() - timedelta(seconds=settings.VISITOR_COOKIE_AGE)
        self.filter(changed_at__lt=limit).delete()


class BasketLine(models.Model):
    """One product in one visitor's basket; a visitor is who has the cookie, no account."""

    visitor = models.CharField(max_length=32)
    product = models.ForeignKey(Product, models.CASCADE, related_name="+")
    quantity = models.PositiveSmallIntegerField()
    ordered_with = models.ForeignKey(
        Invoice, models.SET_NULL, null=True, blank=True, related_name="basket_lines"
    )
    changed_at = models.DateTimeField(default=timezone.now)

    objects = BasketLineQuerySet.as_manager()

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["visitor", "product"], name="one_basket_line_per_product"
            ),
            models.CheckConstraint(
                condition=models.Q(quantity__gt=0), name="a_basket_line_has_a_quantity"
            ),
        ]
        indexes = [models.Index(fields=["changed_at"], name="basket_lines_by_age")]

    def __str__(self):
        return f"{self.quantity} × {self.product}"

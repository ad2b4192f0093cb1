from decimal import Decimal

from django.core.files.storage import storages
from django.core.validators import MinValueValidator
from django.db import models
from django.urls import reverse


def goods_storage():
    return storages["goods"]


class ProductQuerySet(models.QuerySet):
    def on_sale(self):
        return self.filter(active=True)

    def matching(self, words: str):
        """Products with every one of the words in title or description."""
        for word in words.split():
            self = self.filter(
                models.Q(title__icontains=word) | models.Q(description__icontains=word)
            )
        return self


class Product(models.Model):
    """What is sold: shown on the shelf by its picture, handed over as its file."""

    title = models.CharField(max_length=120)
    slug = models.SlugField(max_length=120, unique=True)
    description = models.TextField(blank=True, help_text="Plain text; empty lines make paragraphs.")
    price = models.DecimalField(
        max_digits=12,
        decimal_places=2,
        validators=[MinValueValidator(Decimal("0.01"))],
        help_text="In the shop's currency, tax included.",
    )
    picture = models.ImageField(
        upload_to="products/", blank=True, help_text="A preview that everybody may see."
    )
    file = models.FileField(
        storage=goods_storage, blank=True, help_text="What the buyer downloads; never public."
    )
    active = models.BooleanField(default=True, help_text="Only active products are on the shelf.")
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProductQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        indexes = [models.Index(fields=["-created_at", "-id"], name="shelf_order")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(price__gt=0), name="a_product_costs_something"
            )
        ]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("payments:product", args=[self.slug])

from decimal import Decimal

from django.core.exceptions import ValidationError
from django.core.files.storage import storages
from django.core.validators import MinValueValidator
from django.db import models, transaction
from django.urls import reverse
from pictures.models import PictureField

from . import pictures, search
from .downloads import name_on_disk
from .folding import FoldedField

RELATED_PRODUCTS = 4


def goods_storage():
    return storages["goods"]


class CategoryQuerySet(models.QuerySet):
    def in_use(self):
        """Those with something on sale."""
        products = Product.objects.on_sale().filter(category=models.OuterRef("pk"))
        return self.filter(models.Exists(products))


class Category(models.Model):
    """A group of products in the catalogue."""

    title = models.CharField(max_length=60)
    slug = models.SlugField(max_length=60, unique=True)
    position = models.PositiveSmallIntegerField(default=0, help_text="The smallest stands first.")

    objects = CategoryQuerySet.as_manager()

    class Meta:
        ordering = ["position", "title", "pk"]
        verbose_name_plural = "categories"

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("catalogue:category", args=[self.slug])


class ProductQuerySet(models.QuerySet):
    def on_sale(self):
        return self.filter(active=True)

    def within(self, category: Category | None):
        """Products of the category, or all of them."""
        return self.filter(category=category) if category else self

    def matching(self, words: str):
        """Products with every one of the words in title or description."""
        if not words:
            return self
        return self.alias(**search.names(words)).filter(search.matches(words))

    def with_pictures(self):
        return self.prefetch_related("pictures")


class Product(models.Model):
    """What is sold: shown in the catalogue by its pictures, handed over as its file."""

    title = models.CharField(max_length=120)
    slug = models.SlugField(max_length=120, unique=True)
    description = models.TextField(blank=True, help_text="Plain text; empty lines make paragraphs.")
    # What is searched and sorted by.
    folded_title = FoldedField(of="title")
    folded_description = FoldedField(of="description")
    price = models.DecimalField(
        max_digits=17,
        decimal_places=4,
        validators=[MinValueValidator(Decimal("0.0001"))],
        help_text="In the shop's currency, tax included.",
    )
    category = models.ForeignKey(
        Category, models.SET_NULL, null=True, blank=True, related_name="products"
    )
    file = models.FileField(
        storage=goods_storage,
        upload_to=name_on_disk,
        max_length=255,
        blank=True,
        help_text="What the buyer downloads; never public.",
    )
    # After the file, which sets it.
    file_name = models.CharField(
        max_length=255, blank=True, editable=False, help_text="As the merchant named the file."
    )
    stock = models.PositiveIntegerField(
        null=True, blank=True, help_text="How many are left; empty: unlimited."
    )
    active = models.BooleanField(
        default=True, help_text="Only active products are in the catalogue."
    )
    created_at = models.DateTimeField(auto_now_add=True)
    updated_at = models.DateTimeField(auto_now=True)

    objects = ProductQuerySet.as_manager()

    class Meta:
        ordering = ["-created_at", "-pk"]
        # One for each order of the list of products; the dearest first reads one backwards.
        indexes = [
            models.Index(fields=["-created_at", "-id"], name="products_by_age"),
            models.Index(fields=["price", "id"], name="products_by_price"),
            models.Index(fields=["folded_title", "id"], name="products_by_folded_title"),
        ]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(price__gt=0), name="a_product_costs_something"
            )
        ]

    def __str__(self):
        return self.title

    def get_absolute_url(self):
        return reverse("catalogue:product", args=[self.slug])

    def clean(self):
        """Whoever buys it gets its file, so that there has to be one."""
        if self.active and not self.file:
            raise ValidationError(
                "A product on sale needs a file for its buyers. Add it, or make it inactive."
            )

    @property
    def sold_out(self) -> bool:
        return self.stock == 0

    @property
    def cover(self) -> "Picture | None":
        """The first of its pictures, which stands in the catalogue."""
        return next(iter(self.pictures.all()), None)

    @property
    def summary(self) -> str:
        """The description on one line."""
        return " ".join(self.description.split())

    def related(self) -> list["Product"]:
        """The newest others of the same category."""
        if self.category_id is None:
            return []
        others = Product.objects.on_sale().filter(category=self.category_id).exclude(pk=self.pk)
        return list(others.with_pictures()[:RELATED_PRODUCTS])


class Picture(models.Model):
    """A preview that everybody may see, in several sizes and formats."""

    product = models.ForeignKey(Product, models.CASCADE, related_name="pictures")
    image = PictureField(
        upload_to=pictures.path_of,
        width_field="width",
        height_field="height",
        # 320, 640, 960, 1280 and 1920 pixels, as far as the original has as many.
        container_width=960,
        grid_columns=3,
        file_types=["AVIF", "WEBP", "JPEG"],
        help_text="1920 pixels or more in width look best.",
    )
    alt = models.CharField(
        "in words", max_length=200, blank=True, help_text="For those who cannot see it."
    )
    position = models.PositiveSmallIntegerField(default=0, help_text="The smallest stands first.")
    width = models.PositiveIntegerField(editable=False, default=0)
    height = models.PositiveIntegerField(editable=False, default=0)

    class Meta:
        ordering = ["position", "pk"]

    def __str__(self):
        return self.alt or f"Picture {self.pk}"

    def sizes(self, file_type: str) -> list:
        """Its sizes in one format, the smallest first; none if the original is smaller still."""
        return [size for _, size in sorted(self.image.aspect_ratios[None][file_type].items())]

    @property
    def sources(self) -> list[tuple[str, str]]:
        """What a browser may choose from, the best format first: type and srcset."""
        return [
            (
                f"image/{file_type.lower()}",
                ", ".join(f"{size.url} {size.width}w" for size in self.sizes(file_type)),
            )
            for file_type in ("AVIF", "WEBP")
            if self.sizes(file_type)
        ]

    @property
    def url(self) -> str:
        """A JPEG that every program can show."""
        widest = self.image.field.container_width
        sizes = [size for size in self.sizes("JPEG") if size.width <= widest]
        return sizes[-1].url if sizes else self.image.url

    @property
    def thumbnail(self) -> str:
        """The smallest JPEG."""
        sizes = self.sizes("JPEG")
        return sizes[0].url if sizes else self.image.url

    def delete(self, *args, **kwargs):
        """What a merchant takes away is no longer to be had, by no address."""
        name, image = self.image.name, self.image
        deleted = super().delete(*args, **kwargs)
        image.delete_all()
        transaction.on_commit(lambda: image.storage.delete(name), robust=True)
        return deleted

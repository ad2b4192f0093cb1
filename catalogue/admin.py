from decimal import Decimal

from django import forms
from django.conf import settings
from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils.html import format_html

from payments import providers, stock
from payments.money import Asset, rounded
from payments.templatetags.money import fiat

from . import pictures
from .downloads import hand_over
from .folding import fold
from .models import Category, Picture, Product


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ["title", "position"]
    list_editable = ["position"]
    search_fields = ["title"]
    prepopulated_fields = {"slug": ["title"]}


class PictureForm(forms.ModelForm):
    def clean_image(self):
        image = self.cleaned_data["image"]
        if image and "image" in self.changed_data:
            pictures.check(image)
        return image


class PictureInline(admin.TabularInline):
    model = Picture
    form = PictureForm
    fields = ["preview", "image", "alt", "position"]
    readonly_fields = ["preview"]
    extra = 1

    @admin.display(description="preview")
    def preview(self, picture):
        return thumbnail(picture if picture.pk else None)


def thumbnail(picture: Picture | None):
    if picture is None:
        return "—"
    return format_html(
        '<img src="{}" alt="{}" width="{}" height="54">',
        picture.thumbnail,
        str(picture),
        round(54 * picture.width / picture.height) if picture.height else 96,
    )


class ProductForm(forms.ModelForm):
    smallest_price = Decimal(0)

    def __init__(self, *args, **kwargs):
        """Prices have the decimals of the shop's currency, no matter how many the column has."""
        super().__init__(*args, **kwargs)
        if price := self.fields.get("price"):
            currency = Asset.fiat(settings.SHOP_CURRENCY)
            self.fields["price"] = forms.DecimalField(
                help_text=price.help_text,
                min_value=currency.smallest,
                max_digits=price.max_digits,
                decimal_places=currency.decimals,
            )
            if before := self.initial.get("price"):
                self.initial["price"] = rounded(before, currency.code)

    def clean_price(self):
        """What costs less than can be sent would be overcharged."""
        price = self.cleaned_data["price"]
        if price < self.smallest_price:
            least = fiat(self.smallest_price)
            raise forms.ValidationError(
                f"No wallet sends so little: the smallest payment is worth {least} just now."
            )
        return price


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    form = ProductForm
    list_display = [
        "preview",
        "title",
        "category",
        "cost",
        "stock",
        "active",
        "has_file",
        "created_at",
    ]
    list_display_links = ["preview", "title"]
    list_filter = ["active", "category"]
    list_editable = ["active"]
    list_select_related = ["category"]
    search_fields = ["folded_title", "folded_description"]
    prepopulated_fields = {"slug": ["title"]}
    readonly_fields = ["file_name", "created_at", "updated_at"]
    inlines = [PictureInline]
    show_full_result_count = False

    def get_queryset(self, request):
        return super().get_queryset(request).with_pictures()

    def get_search_results(self, request, queryset, search_term):
        return super().get_search_results(request, queryset, fold(search_term))

    def get_urls(self):
        goods = self.admin_site.admin_view(self.goods)
        return [
            path("goods/<path:name>", goods, name="catalogue_product_goods"),
            *super().get_urls(),
        ]

    def goods(self, request, name):
        """The file itself, for whoever may see products here."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            product = get_object_or_404(Product, file=name)
            return hand_over(request, product.file, product.file_name)
        except FileNotFoundError as error:
            raise Http404 from error

    def changeform_view(self, request, *args, **kwargs):
        """The smallest payment is asked for here: the form is judged in a database transaction."""
        if request.method == "POST":
            request.smallest_price = providers.smallest_price(settings.SHOP_CURRENCY)
        return super().changeform_view(request, *args, **kwargs)

    def get_form(self, request, obj=None, change=False, **kwargs):
        form = super().get_form(request, obj, change, **kwargs)
        form.smallest_price = getattr(request, "smallest_price", Decimal(0))
        return form

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        if db_field.name == "stock":
            kwargs["show_hidden_initial"] = True  # what the merchant saw
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request, product, form, change):
        """The stock moves while a merchant types: what is saved is the difference they made."""
        if change and "stock" not in form.changed_data:
            product.stock = F("stock")
        elif change and product.stock is not None:
            seen = form.data.get(form.add_initial_prefix("stock"))
            if seen:
                product.stock = Greatest(F("stock") + product.stock - int(seen), 0)
        super().save_model(request, product, form, change)
        product.refresh_from_db(fields=["stock"])
        # After the commit, as invoices are locked before products everywhere else.
        by = f"merchant {request.user}"
        transaction.on_commit(lambda: stock.allocate_backorders(product.pk, by))

    @admin.display(description="price", ordering="price")
    def cost(self, product):
        return fiat(product.price)

    @admin.display(description="picture")
    def preview(self, product):
        return thumbnail(product.cover)

    @admin.display(description="file", boolean=True)
    def has_file(self, product):
        return bool(product.file)

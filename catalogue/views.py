"""What there is to buy: the list of products, and one product."""

from django.conf import settings
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_safe

from payments import providers

from . import pagination, search
from .models import Category, Product


def rate():
    """What a bitcoin costs, to show prices by; None if that is not known just now."""
    return providers.known_price(settings.SHOP_CURRENCY)


@require_safe
def product_list(request, slug=None):
    """What is on sale, in one category or all: `q` searches, `sort` orders, `after` turns pages."""
    category = get_object_or_404(Category, slug=slug) if slug else None
    query, words = request.GET, search.clean(request.GET.get("q", ""))
    sorts = pagination.sorts(words)
    chosen = query["sort"] if query.get("sort") in sorts else next(iter(sorts))
    products = Product.objects.on_sale().within(category).matching(words).with_pictures()
    page = pagination.page(products, sorts[chosen], query.get("after", ""), query.get("before", ""))
    return render(
        request,
        "catalogue/product_list.html",
        {
            "category": category,
            "categories": Category.objects.in_use(),
            "words": words,
            "sorts": sorts,
            "chosen": chosen,
            "page": page,
            "rate": rate(),
            "is_first_page": not any(map(query.get, ["q", "sort", "after", "before"])),
        },
    )


@require_safe
def product(request, slug):
    products = Product.objects.on_sale().select_related("category").with_pictures()
    found = get_object_or_404(products, slug=slug)
    return render(
        request,
        "catalogue/product.html",
        {"product": found, "related": found.related(), "rate": rate()},
    )

"""What there is to buy: the shelf, one product, the basket."""

from django.conf import settings
from django.core.exceptions import BadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from payments import paging, providers, search
from payments.basket import Basket, total
from payments.forms import QuantityForm
from payments.models import Category, Product


def rate():
    """What a bitcoin costs, to show prices by; None if that is not known just now."""
    return providers.get("blockonomics").fresh_rate(settings.SHOP_CURRENCY)


@require_safe
def shelf(request, slug=None):
    """What is on sale, in one category or all: `q` searches, `sort` orders, `after` turns pages."""
    category = get_object_or_404(Category, slug=slug) if slug else None
    query, words = request.GET, search.clean(request.GET.get("q", ""))
    sorts = paging.sorts(words)
    chosen = query["sort"] if query.get("sort") in sorts else next(iter(sorts))
    products = Product.objects.on_sale().within(category).matching(words).with_pictures()
    page = paging.page(products, sorts[chosen], query.get("after", ""), query.get("before", ""))
    return render(
        request,
        "payments/shelf.html",
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
        "payments/product.html",
        {"product": found, "related": found.related(), "rate": rate()},
    )


@never_cache
@require_safe
def basket(request):
    lines = Basket(request.session).lines()
    return render(
        request, "payments/basket.html", {"lines": lines, "total": total(lines), "rate": rate()}
    )


@require_POST
def change_basket(request, pk):
    """Puts one more of the product into the basket or, with a quantity, makes it so many."""
    product = get_object_or_404(Product.objects.on_sale(), pk=pk)
    if "quantity" not in request.POST:
        Basket(request.session).add(product)
    elif (form := QuantityForm(request.POST)).is_valid():
        Basket(request.session).put(product, form.cleaned_data["quantity"])
    else:
        raise BadRequest(_("quantity: {trouble}").format(trouble=form.errors["quantity"][0]))
    return redirect("payments:basket")

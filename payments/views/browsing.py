"""What there is to buy: the shelf, one product, the basket."""

from django.core.exceptions import BadRequest
from django.core.paginator import Paginator
from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.http import require_POST, require_safe

from payments.basket import Basket, total
from payments.forms import QuantityForm
from payments.models import Product

PRODUCTS_PER_PAGE = 12


@require_safe
def shelf(request):
    words = request.GET.get("q", "").replace("\0", "").strip()[:100]
    products = Product.objects.on_sale().matching(words)
    page = Paginator(products, PRODUCTS_PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "payments/shelf.html", {"page": page, "words": words})


@require_safe
def product(request, slug):
    found = get_object_or_404(Product.objects.on_sale(), slug=slug)
    return render(request, "payments/product.html", {"product": found})


@require_safe
def basket(request):
    lines = Basket(request.session).lines()
    return render(request, "payments/basket.html", {"lines": lines, "total": total(lines)})


@require_POST
def change_basket(request, pk):
    """Puts one more of the product into the basket or, with a quantity, makes it so many."""
    product = get_object_or_404(Product.objects.on_sale(), pk=pk)
    if "quantity" not in request.POST:
        Basket(request.session).add(product)
    elif (form := QuantityForm(request.POST)).is_valid():
        Basket(request.session).put(product, form.cleaned_data["quantity"])
    else:
        raise BadRequest(f"quantity: {form.errors['quantity'][0]}")
    return redirect("payments:basket")

"""The basket, and what changes it."""

from django.conf import settings
from django.core.exceptions import BadRequest
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from catalogue.models import Product
from payments import providers
from payments.basket import Basket, total
from payments.forms import QuantityForm


@never_cache
@require_safe
def basket(request):
    lines = Basket(request.session).lines()
    return render(
        request,
        "payments/basket.html",
        {
            "lines": lines,
            "total": total(lines),
            "rate": providers.known_price(settings.SHOP_CURRENCY),
        },
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

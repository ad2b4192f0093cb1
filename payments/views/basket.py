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
from payments.models import BasketLine
from payments.visitors import known_visitor, remember_visitor, visitor_of


@never_cache
@require_safe
def basket(request):
    lines = Basket(known_visitor(request)).lines()
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
    visitor = visitor_of(request)
    if "quantity" not in request.POST:
        BasketLine.objects.add(visitor, product)
    elif (form := QuantityForm(request.POST)).is_valid():
        BasketLine.objects.put(visitor, product, form.cleaned_data["quantity"])
    else:
        raise BadRequest(_("quantity: {trouble}").format(trouble=form.errors["quantity"][0]))
    return remember_visitor(redirect("payments:basket"), visitor)

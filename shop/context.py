from django.conf import settings

from payments.basket import Basket
from payments.purchases import has_purchases
from payments.visitors import known_visitor, typed_email

# Only what is searched for and turned to is kept: no other page repeats what an address brought.
KEEPS_QUERY = ["catalogue:product_list", "catalogue:category"]


def here(request) -> str:
    """Where a new language leads to: the same page, unless only a form can ask for it."""
    if request.method not in ("GET", "HEAD"):
        return "/"
    match = request.resolver_match
    return request.get_full_path() if match and match.view_name in KEEPS_QUERY else request.path


def shop(request):
    """What every page of the shop shows."""
    return {
        "SHOP_NAME": settings.SHOP_NAME,
        "SHOP_CURRENCY": settings.SHOP_CURRENCY,
        "SANDBOX": settings.SANDBOX,
        "STAGING": settings.STAGING,
        "here": here(request),
        "email_typed": typed_email(request),
        "has_purchases": has_purchases(request),
        "basket": Basket(known_visitor(request)),
    }

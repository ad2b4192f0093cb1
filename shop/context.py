from django.conf import settings

from payments.basket import Basket
from payments.purchases import Purchases


def shop(request):
    """What every page of the shop shows."""
    return {
        "SHOP_NAME": settings.SHOP_NAME,
        "SHOP_CURRENCY": settings.SHOP_CURRENCY,
        "SANDBOX": settings.SANDBOX,
        # Where a new language leads to: the same page, unless only a form can ask for it.
        "here": request.get_full_path() if request.method in ("GET", "HEAD") else "/",
        "purchases": Purchases(request.session) if hasattr(request, "session") else None,
        "basket": Basket(request.session) if hasattr(request, "session") else None,
    }

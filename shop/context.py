from django.conf import settings

from payments.basket import Basket


def shop(request):
    """What every page of the shop shows."""
    return {
        "SHOP_NAME": settings.SHOP_NAME,
        "SHOP_CURRENCY": settings.SHOP_CURRENCY,
        "SANDBOX": settings.SANDBOX,
        "basket": Basket(request.session) if hasattr(request, "session") else None,
    }

from django.conf import settings
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from payments import presentation, providers
from payments.models import Invoice


@never_cache
@require_safe
def receipt(request, key):
    """The receipt of a paid invoice, to print; before that it is as unknown as a wrong key."""
    found = get_object_or_404(Invoice.objects.with_key(key).paid().complete())
    attempt = found.attempt
    return render(
        request,
        "payments/receipt.html",
        {
            "invoice": found,
            "attempt": attempt,
            "balance": found.balance,
            "pay": presentation.PayTemplates(providers.get(attempt.provider)),
            "shop_address": settings.SHOP_ADDRESS,
            "tax_id": settings.SHOP_TAX_ID,
        },
    )

"""Money that a shopper wants back."""

from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from payments.forms import RefundForm
from payments.limits import limited
from payments.models import Invoice, RefundClaim
from payments.models.refunds import AlreadyRefunded, NothingToRefund


# Without a referrer, browsers name no origin either, and the CSRF check would refuse the form. The
# key guards this door instead: a stranger's page does not know it, and no cookie gives authority.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@limited("refunds")
def refund(request, key):
    """The shopper says where the money shall go, corrects that, or takes the claim back."""
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    claim = found.claim
    known = {"address": claim.address, "note": claim.note} if claim else None
    form = RefundForm(request.POST or None, initial=known, invoice=found)
    try:
        if "withdraw" in request.POST:
            RefundClaim.objects.withdraw(found)
            return redirect(found)
        if form.is_valid():
            RefundClaim.objects.claim(found, **form.cleaned_data)
            return redirect(found)
    except (AlreadyRefunded, NothingToRefund):
        found = Invoice.objects.complete().get(pk=found.pk)  # as it stands by now
        return _page(request, found, form, status=409)
    return _page(request, found, form, status=400 if form.is_bound else 200)


def _page(request, invoice, form, status):
    return render(
        request, "payments/refund.html", {"invoice": invoice, "form": form}, status=status
    )

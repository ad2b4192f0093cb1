"""Money that a shopper wants back."""

from django.shortcuts import get_object_or_404, redirect, render
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods

from payments import presentation, providers, refunds
from payments.actors import actor
from payments.forms import RefundForm
from payments.models import Invoice
from payments.rate_limits import limited


# Without a referrer, browsers name no origin either, and the CSRF check would refuse the form. The
# key guards this door instead: a stranger's page does not know it, and no cookie gives authority.
@csrf_exempt
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@limited("refunds")
def refund(request, key):
    """The shopper says where the money shall go, corrects that, or takes the request back."""
    found = get_object_or_404(Invoice.objects.with_key(key).complete())
    attempt = found.attempt
    provider, asked = providers.get(attempt.provider), attempt.refund
    known = {"address": asked.destination, "note": asked.note} if asked else None
    form = RefundForm(request.POST or None, initial=known, attempt=attempt, provider=provider)
    try:
        if "withdraw" in request.POST:
            refunds.withdraw_request(found, actor(request))
            return redirect(found)
        if form.is_valid():
            chosen = form.cleaned_data
            destination = chosen.get("address", "")
            refunds.request_refund(found, destination, chosen["note"], actor(request))
            return redirect(found)
    except (refunds.AlreadyRefunded, refunds.NothingToRefund):
        found = Invoice.objects.complete().get(pk=found.pk)  # as it stands by now
        return _page(request, found, form, status=409)
    return _page(request, found, form, status=400 if form.is_bound else 200)


def _page(request, invoice, form, status):
    attempt = invoice.attempt
    pay = presentation.PayTemplates(providers.get(attempt.provider))
    context = {"invoice": invoice, "attempt": attempt, "form": form, "pay": pay}
    return render(request, "payments/refund/page.html", context, status=status)

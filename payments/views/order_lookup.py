"""Finding an order again: by mail, by its code, by this browser."""

from django.shortcuts import get_object_or_404, redirect, render, resolve_url
from django.utils import timezone
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from payments import notifications, presentation
from payments.forms import EmailForm, FindForm
from payments.models import Invoice
from payments.purchases import forget_the_oldest, purchases_of
from payments.rate_limits import limited
from payments.visitors import remember_typed


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@limited("look-ups")
def find(request):
    """Leads who knows both an order's code and its e-mail address straight to its page.

    Nobody else learns anything: whether the code, the address or both are wrong, or there is no
    such order, one query is asked and one page is answered. To whoever has both, a redirect tells
    nothing new, and needs no mail server; who has only the address would have to guess one of
    31**8 codes, at no more than LIMIT_LOOK_UPS.
    """
    form = FindForm(request.POST if request.method == "POST" else None)
    if form.is_valid():
        code, email = form.cleaned_data["code"], form.cleaned_data["email"]
        if invoice := Invoice.objects.filter(order_code=code, email__iexact=email).first():
            return redirect(invoice)
        form.add_error(None, _("We found no order with this code and this e-mail address."))
    return render(request, "payments/find.html", {"form": form}, status=404 if form.errors else 200)


@never_cache
@require_safe
def purchases(request):
    now = timezone.now()
    rows = [(each, presentation.state_of(each, now).label) for each in purchases_of(request)]
    response = render(request, "payments/purchases.html", {"rows": rows})
    response["X-Robots-Tag"] = "noindex"
    forget_the_oldest(request, response)
    return response


# Invoice pages name no referrer, so browsers say `Origin: null`, which Django's CSRF check refuses.
# The key guards this door instead: no cookie gives authority here, and no stranger knows the key.
@csrf_exempt
@require_POST
@limited("e-mails")
def invoice_email(request, key):
    """Sends the news of this order to an address, if there is none yet."""
    found = get_object_or_404(Invoice.objects.with_key(key))
    form = EmailForm(request.POST)
    if not form.is_valid():
        return ask_again(request, found)
    notifications.subscribe(found, form.cleaned_data["email"])
    return redirect(found)


def ask_again(request, page):
    """Back to the page that the address was given on, with a word about it at its field.

    What was typed is kept in a cookie for a moment.
    """
    back = redirect(f"{resolve_url(page)}?email=invalid")
    return remember_typed(back, request.POST.get("email", ""))

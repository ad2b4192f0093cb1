from django.http import HttpResponse
from django.utils import timezone

from payments.models import PaymentAttempt


def callback(request, database):
    """The callback as tutorials have it: get, set, save. No secret, no inbox, no lock, no books."""
    attempt = PaymentAttempt.objects.using(database).get(reference=request.GET["addr"])
    attempt.checked_at = timezone.now()
    attempt.save()
    return HttpResponse("ok")

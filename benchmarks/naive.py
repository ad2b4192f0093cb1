from django.http import HttpResponse

from payments.models import Invoice


def callback(request, database):
    """The callback as tutorials have it: get, set, save. No secret, no inbox, no lock, no books."""
    invoice = Invoice.objects.using(database).get(reference=request.GET["addr"])
    invoice.status = int(request.GET["status"])
    invoice.save()
    return HttpResponse("ok")

from channels.security.websocket import AllowedHostsOriginValidator
from django.urls import path, re_path

from . import views
from .consumers import InvoiceConsumer

app_name = "payments"

urlpatterns = [
    path("basket/", views.basket, name="basket"),
    path("basket/<int:pk>/", views.change_basket, name="change_basket"),
    path("find/", views.find, name="find"),
    path("purchases/", views.purchases, name="purchases"),
    path("payments/create/", views.create_payment, name="create_payment"),
    path("payments/create/<int:pk>/", views.create_payment, name="create_payment"),
    path("payments/invoice/<str:key>/", views.invoice, name="invoice"),
    path("payments/invoice/<str:key>/status/", views.invoice_status, name="status"),
    path("payments/invoice/<str:key>/quote/", views.quote, name="quote"),
    path("payments/invoice/<str:key>/email/", views.invoice_email, name="invoice_email"),
    path("payments/invoice/<str:key>/receipt/", views.receipt, name="receipt"),
    path("payments/invoice/<str:key>/refund/", views.refund, name="refund"),
    path("payments/invoice/<str:key>/download/<int:line>/", views.download, name="download"),
    # Blockonomics takes a redirect for a failure, so both spellings lead here.
    re_path(r"^payments/callback/(?P<provider>[a-z-]+)/?$", views.callback, name="callback"),
    path("favicon.ico", views.favicon),
    path("healthz", views.healthz, name="healthz"),
]

websocket_urlpatterns = [
    path("ws/invoices/<str:key>/", AllowedHostsOriginValidator(InvoiceConsumer.as_asgi())),
]

from django.urls import re_path

from sandbox.blockonomics.websocket import PaymentConsumer

websocket_urlpatterns = [
    re_path(r"^(?:sandbox/)?payment/(?P<address>[^/]+)/?$", PaymentConsumer.as_asgi()),
]

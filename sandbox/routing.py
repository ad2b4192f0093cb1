from django.urls import re_path

from sandbox.consumers import PaymentConsumer

websocket_urlpatterns = [
    re_path(r"^(?:sandbox/)?payment/(?P<address>[^/]+)/?$", PaymentConsumer.as_asgi()),
]

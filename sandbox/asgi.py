"""The sandbox as a server of its own."""

from channels.routing import ProtocolTypeRouter, URLRouter
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application

http = ASGIStaticFilesHandler(get_asgi_application())

# After the line above: they need the models.
from sandbox.engine import with_engine  # noqa: E402
from sandbox.routing import websocket_urlpatterns  # noqa: E402

application = with_engine(
    ProtocolTypeRouter({"http": http, "websocket": URLRouter(websocket_urlpatterns)})
)

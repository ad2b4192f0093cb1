import os

from channels.routing import ProtocolTypeRouter, URLRouter
from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "shop.settings")

django_application = get_asgi_application()

from django.conf import settings  # noqa: E402  the apps must be loaded first
from django.urls import path, re_path  # noqa: E402

from payments.urls import websocket_urlpatterns  # noqa: E402

from .callback_executor import CallbackExecutor, end_in_time  # noqa: E402
from .startup import refuse_unless_sound  # noqa: E402

refuse_unless_sound()

routes = list(websocket_urlpatterns)

if settings.SANDBOX:
    from sandbox import engine, routing

    routes.append(path("sandbox/", URLRouter(routing.websocket_urlpatterns)))


async def turn_away(scope, receive, send):
    """Closes a socket that leads nowhere; without a route Channels would log a traceback."""
    await send({"type": "websocket.close"})


routes.append(re_path("", turn_away))
application = ProtocolTypeRouter(
    {
        "http": CallbackExecutor(django_application, "/payments/callback/"),
        "websocket": URLRouter(routes),
    }
)

if settings.SANDBOX:
    application = engine.with_engine(application)

end_in_time()

from django.conf import settings
from django.urls import include, path
from django.views.static import serve

from .naive import callback

urlpatterns = [
    path("naive/<str:database>/callback", callback),
    # On a real server that is the proxy's work (docs/going-live.md).
    path("media/<path:path>", serve, {"document_root": settings.MEDIA_ROOT}),
    path("", include("shop.urls")),
]

from django.conf import settings
from django.conf.urls.static import static
from django.contrib import admin
from django.urls import include, path

from . import languages, theme

urlpatterns = [
    path("", include("catalogue.urls")),
    path("", include("payments.urls")),
    path("language/", languages.choose, name="language"),
    path("admin/", admin.site.urls),
    path("theme/<str:colour>.css", theme.accent, name="accent"),
    *static(settings.MEDIA_URL, document_root=settings.MEDIA_ROOT),
]

if settings.SANDBOX:
    urlpatterns.append(path("sandbox/", include("sandbox.urls")))

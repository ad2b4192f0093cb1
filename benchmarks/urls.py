from django.urls import include, path

from .naive import callback

urlpatterns = [path("naive/<str:database>/callback", callback), path("", include("shop.urls"))]

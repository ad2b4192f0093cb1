"""Blockonomics' own paths, at the root of a server of its own."""

from django.urls import include, path

urlpatterns = [path("", include("sandbox.urls"))]

"""The merchant's desk: Django's admin, which tells nobody an order's key."""

from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.contrib.contenttypes.views import shortcut
from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404
from django.urls import path


class ShopAdminSite(admin.AdminSite):
    def get_urls(self):
        """Django's "view on site" tells anybody of the staff where anything is; ours asks first."""
        ours = path(
            "r/<path:content_type_id>/<path:object_id>/",
            self.admin_view(self.view_on_site),
            name="view_on_site",
        )
        return [ours, *super().get_urls()]

    def view_on_site(self, request, content_type_id, object_id):
        """Leads to the public page of what staff may see; an order's own page is not public."""
        kind = get_object_or_404(ContentType, pk=content_type_id)
        known = self._registry.get(kind.model_class())
        if known is None or not known.view_on_site or not known.has_view_permission(request):
            raise PermissionDenied
        return shortcut(request, content_type_id, object_id)

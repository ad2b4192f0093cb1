"""The merchant's desk: Django's admin, which tells nobody an order's key."""

import logging

from django.contrib import admin
from django.contrib.contenttypes.models import ContentType
from django.contrib.contenttypes.views import shortcut
from django.core.exceptions import PermissionDenied
from django.shortcuts import get_object_or_404
from django.urls import path

from payments.rate_limits import refused

from . import proxies

logger = logging.getLogger(__name__)


class ShopAdminSite(admin.AdminSite):
    def login(self, request, extra_context=None):
        """Nobody tries passwords by the thousand, and whoever tries is written down."""
        if request.method != "POST":
            return super().login(request, extra_context)
        if page := refused("logins", request):
            return page
        response = super().login(request, extra_context)
        if not request.user.is_authenticated:
            name = request.POST.get("username", "")[:150]
            logger.warning("A login as %r failed, from %s.", name, proxies.network(request))
        return response

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

"""The merchant's desk, which is Django's admin but for how long a login lasts."""

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.apps import AdminConfig


class ShopAdminSite(admin.AdminSite):
    def login(self, request, extra_context=None):
        """For STAFF_LOGIN_AGE, which is shorter than a shopper is known."""
        response = super().login(request, extra_context)
        if request.method == "POST" and request.user.is_authenticated:
            request.session.set_expiry(settings.STAFF_LOGIN_AGE)
        return response


class AdminSiteConfig(AdminConfig):
    default_site = "shop.admin_site.ShopAdminSite"

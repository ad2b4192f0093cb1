"""The merchant's desk, which is Django's admin but for how long a login lasts."""

from django.conf import settings
from django.contrib import admin
from django.contrib.admin.apps import AdminConfig


class Desk(admin.AdminSite):
    def login(self, request, extra_context=None):
        """For DESK_LOGIN_AGE, which is shorter than a shopper is known."""
        response = super().login(request, extra_context)
        if request.method == "POST" and request.user.is_authenticated:
            request.session.set_expiry(settings.DESK_LOGIN_AGE)
        return response


class DeskConfig(AdminConfig):
    default_site = "shop.desk.Desk"

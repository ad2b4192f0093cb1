"""The merchant's desk: what staff see and do in Django's admin."""

from django.contrib import admin

from . import callbacks, invoices, refunds, tasks

admin.site.site_header = "The merchant’s desk"
admin.site.site_title = "Desk"
admin.site.index_title = "Products, invoices, money"

__all__ = ["callbacks", "invoices", "refunds", "tasks"]

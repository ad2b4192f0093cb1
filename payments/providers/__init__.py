"""Every payment service that the shop knows, so that old invoices always find theirs."""

from django.utils.module_loading import import_string

from .base import Provider

PROVIDERS = {
    "blockonomics": "payments.providers.blockonomics.Blockonomics",
}


def get(slug: str) -> Provider:
    """The provider of that name; KeyError if there is none."""
    return import_string(PROVIDERS[slug])()

import ssl

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import Error, register
from django.core.exceptions import ImproperlyConfigured

from sandbox import conf

REFUSAL = "The sandbox refuses to start with DEBUG off"


class SandboxConfig(AppConfig):
    name = "sandbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self):
        register(debug_is_on)
        register(ca_bundle_can_be_read)
        if not settings.DEBUG:
            raise ImproperlyConfigured(
                f"{REFUSAL}: its money is play money. Take it out of INSTALLED_APPS."
            )


def debug_is_on(app_configs, **options):
    """E001: anybody can make payments up here, so no shop may run it in earnest."""
    if settings.DEBUG:
        return []
    hint = 'Take "sandbox" out of INSTALLED_APPS and point the shop at https://www.blockonomics.co.'
    return [Error(f"{REFUSAL}.", hint=hint, id="sandbox.E001")]


def ca_bundle_can_be_read(app_configs, **options):
    """E002: without its authorities every callback over HTTPS would fail."""
    if not conf.ca_bundle():
        return []
    try:
        ssl.create_default_context(cafile=conf.ca_bundle())
    except OSError as error:
        message = f"SANDBOX_CA_BUNDLE is {conf.ca_bundle()}, which cannot be used: {error}."
        hint = "Name a file of PEM certificates, or leave it empty for the public authorities."
        return [Error(message, hint=hint, id="sandbox.E002")]
    return []

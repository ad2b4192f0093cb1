from django.apps import AppConfig


class PaymentsConfig(AppConfig):
    name = "payments"
    verbose_name = "Shop"

    def ready(self):
        from . import checks  # noqa: F401  registers the checks

from django.contrib import admin, messages

from payments import ingestion, providers
from payments.models import Callback

from .read_only import ReadOnly


@admin.register(Callback)
class CallbackAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["received_at", "provider", "outcome", "invoice", "note"]
    list_filter = ["outcome", "provider", "received_at"]
    search_fields = ["query", "body", "note", "invoice__order_code"]
    search_help_text = "Address, transaction id, reason or order code"
    date_hierarchy = "received_at"
    list_select_related = ["invoice"]
    show_full_result_count = False
    fields = ["received_at", "provider", "query", "body", "outcome", "invoice", "note"]
    actions = ["process_again"]

    @admin.action(description="Process again", permissions=["process"])
    def process_again(self, request, queryset):
        for callback in queryset.order_by("pk"):
            try:
                provider = providers.get(callback.provider)
                ingestion.process_again(callback, provider, f"merchant {request.user}")
                told, level = callback.get_outcome_display(), messages.INFO
            except Exception as error:
                told, level = f"{type(error).__name__}: {error}", messages.ERROR
            self.message_user(request, f"Callback {callback.pk}: {told}", level)

    def has_process_permission(self, request):
        return request.user.has_perm("payments.change_callback")

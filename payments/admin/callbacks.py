from django.contrib import admin, messages

from payments import ingestion, providers, strays
from payments.models import Callback
from payments.providers.base import ProviderError

from . import actions
from .forms import AttachForm, RemarkForm
from .read_only import ReadOnly


@admin.register(Callback)
class CallbackAdmin(ReadOnly, admin.ModelAdmin):
    list_display = [
        *["received_at", "provider", "outcome", "reference", "amount", "transaction_id"],
        *["invoice", "note", "remark"],
    ]
    list_filter = ["outcome", "provider", "received_at"]
    search_fields = ["query", "body", "note", "remark", "invoice__order_code"]
    search_help_text = "Address, transaction id, reason or order code"
    date_hierarchy = "received_at"
    list_select_related = ["invoice"]
    show_full_result_count = False
    fields = [
        *["received_at", "provider", "query", "body", "outcome", "invoice", "note"],
        *["reference", "amount", "transaction_id", "remark"],
    ]
    actions = ["process_again", "note_down", "attach"]

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

    @admin.action(description="Note what it is", permissions=["process"])
    def note_down(self, request, queryset):
        form = actions.filled_in(RemarkForm, request)
        if not form.is_valid():
            told = "It is kept with these callbacks, for whoever looks at them next."
            return actions.ask(self, request, queryset, form, "note_down", "Note what it is", told)
        queryset.update(remark=form.cleaned_data["remark"])
        return None

    @admin.action(description="Attach to an order", permissions=["process"])
    def attach(self, request, queryset):
        """Money to addresses that no order has becomes the order's that a person names."""
        queryset = queryset.filter(outcome=Callback.Outcome.UNKNOWN_REFERENCE)
        form = actions.filled_in(AttachForm, request)
        if not form.is_valid() or not queryset:
            told = (
                "What came to these addresses counts for the order that you name, at the price of "
                "today. Only callbacks whose address no order has can be attached."
            )
            return actions.ask(self, request, queryset, form, "attach", "Attach to an order", told)
        by, meant = f"merchant {request.user}", form.cleaned_data
        for slug, reference in set(queryset.values_list("provider", "reference")):
            try:
                provider = providers.get(slug)
                rate = ingestion.market_rate(provider, meant["order"].currency)
                strays.attach(provider, reference, meant["order"], meant["reason"], by, rate)
            except (ProviderError, strays.ReferenceIsUsed) as error:
                told = f"{reference} is not attached: {error or 'an order has it by now'}"
                self.message_user(request, told, messages.ERROR)
        same = Callback.objects.filter(reference__in=queryset.values("reference"))
        self.process_again(request, same)
        return None

    def has_process_permission(self, request):
        return request.user.has_perm("payments.change_callback")

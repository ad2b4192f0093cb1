"""Money that shoppers want back: paid from the merchant's own wallet, and recorded here."""

from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied, ValidationError
from django.http import Http404
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html

from payments import providers, refunds
from payments.models import PaymentAttempt, Refund
from payments.providers.base import ProviderError, RefundsByHand

from .forms import RefundSentForm, figures, read_figures


class RefundStateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request, model_admin):
        return [("open", "To be paid"), ("sent", "Paid"), ("withdrawn", "Taken back")]

    def queryset(self, request, queryset):
        match self.value():
            case "open":
                return queryset.requested()
            case "sent":
                return queryset.sent()
            case "withdrawn":
                return queryset.withdrawn()
        return queryset


@admin.register(Refund)
class RefundAdmin(admin.ModelAdmin):
    """Money that shoppers want back: paid from the merchant's own wallet, and recorded here."""

    form = RefundSentForm
    list_display = ["of_order", "to_send", "destination", "standing", "requested_at", "sent_at"]
    list_filter = [RefundStateFilter, "requested_at"]
    search_fields = ["invoice__order_code", "destination", "transaction_id"]
    search_help_text = "Order code, destination or transaction id"
    date_hierarchy = "requested_at"
    show_full_result_count = False
    list_per_page = 50
    actions = None
    facts = [
        *["order", "standing", "to_send", "unconfirmed", "verified", "destination", "ours", "pay"],
        *["note", "requested_at", "withdrawn_at", "sending_at", "sent_at", "sent_by"],
        "verified_at",
    ]

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        """What was seen stays; until then somebody who may pays, records and corrects it."""
        is_open = obj is None or not obj.is_verified
        return is_open and super().has_change_permission(request, obj)

    def get_queryset(self, request):
        return (
            super()
            .get_queryset(request)
            .select_related("invoice", "attempt__invoice")
            .prefetch_related(
                "invoice__attempts__transactions", "invoice__attempts__refunds", "invoice__lines"
            )
        )

    def get_fields(self, request, obj=None):
        return [
            *self.facts,
            "transaction_id",
            *(["shown"] if self._may_record(request, obj) else []),
        ]

    def get_readonly_fields(self, request, obj=None):
        return self.facts if self._may_record(request, obj) else [*self.facts, "transaction_id"]

    def _may_record(self, request, refund) -> bool:
        """Whether there is something to record, and somebody who may.

        What a page told to send may have been sent, whatever the books say since.
        """
        if refund is None or not self.has_change_permission(request, refund):
            return False
        shown = read_figures(request.POST.get("shown", ""), refund)
        return bool(refund.current_amount or shown)

    def change_view(self, request, object_id, form_url="", extra_context=None):
        """A second click on "Save" hears that it is done."""
        if request.method == "POST" and self._was_recorded(request, object_id):
            self.message_user(request, "This refund was recorded already.", messages.WARNING)
            return redirect(request.path)
        if request.method == "POST" and "step" in request.POST:
            return self._take_step(request, object_id)
        if request.method == "POST":
            request.seen_amount = self._ask_the_network(request, object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def _was_recorded(self, request, object_id: str) -> bool:
        refund = self.get_object(request, object_id)
        if refund is None or not refund.is_sent:
            return False
        shown = read_figures(request.POST.get("shown", ""), refund)
        is_correction = shown is not None and shown.transaction_id == refund.transaction_id
        return refund.is_verified or not is_correction

    def _ask_the_network(self, request, object_id) -> int | None:
        """What the transaction pays; here, since the form is judged in a database transaction."""
        refund, given = self.get_object(request, object_id), request.POST.get("transaction_id")
        if refund is None or not given or not self._may_record(request, refund):
            return None
        try:
            sent = RefundSentForm.as_written(refund, given)
            return refunds.seen_amount(refund, sent)
        except (ProviderError, ValidationError):
            return None  # the worker asks again; what is no id, the form says

    def get_form(self, request, obj=None, change=False, **kwargs):
        form = super().get_form(request, obj, change, **kwargs)
        form.seen_amount = getattr(request, "seen_amount", None)
        return form

    def render_change_form(self, request, context, *args, obj=None, **kwargs):
        if self._may_record(request, obj):
            context |= {"advice": self._advice(obj), "step": self._step(obj)}
            context["figures"] = figures(obj)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def _advice(self, refund) -> str:
        if refund.is_sent:
            return (
                "The network does not show this transaction yet, so the shopper has not been told. "
                "If it is a slip, correct it; the refund itself stays recorded as sent."
            )
        if refund.is_withdrawn:
            return (
                "The shopper has taken this back: send nothing. If you had sent it before, record "
                "its transaction id below."
            )
        if refund.is_being_sent:
            return (
                "Send it from your own wallet now, and record its transaction id below. Until "
                "then the shopper can neither correct the request nor take it back."
            )
        return (
            "Press this before you send: from then on the shopper can neither correct the request "
            "nor take it back while the money is on its way, and nobody else at the desk sends it "
            "a second time."
        )

    def _step(self, refund) -> tuple[str, str] | None:
        if refund.is_being_sent:
            return ("keep-back", "I have not sent it after all")
        return ("send", "I am sending this now") if refund.is_open else None

    def _take_step(self, request, object_id):
        """The merchant is about to send the money, or has not sent it after all."""
        refund = self.get_object(request, object_id)
        if refund is None:
            raise Http404
        if not self.has_change_permission(request, refund):
            raise PermissionDenied
        told, level = self._told_of_step(request, refund)
        self.message_user(request, told, level)
        return redirect(request.path)

    def _told_of_step(self, request, refund) -> tuple[str, int]:
        by = f"merchant {request.user}"
        if request.POST["step"] == "keep-back":
            refunds.stop_sending(refund, by)
            return "It is noted as not sent.", messages.INFO
        shown = read_figures(request.POST.get("shown", ""), refund)
        try:
            refunds.begin_sending(refund, shown, by)
        except refunds.BeingSent:
            return "Somebody is sending this already: see the order’s timeline.", messages.ERROR
        except refunds.AlreadyRefunded:
            return "This refund was recorded already.", messages.WARNING
        except refunds.RefundChanged:
            told = "The request has changed meanwhile. Send nothing before you have looked again."
            return told, messages.ERROR
        return "Now send exactly what this page says.", messages.SUCCESS

    def save_model(self, request, obj, form, change):
        sent, shown = form.cleaned_data["transaction_id"], form.cleaned_data["shown"]
        try:
            refunds.record_sent(obj, sent, shown, by=f"merchant {request.user}")
            if form.seen_amount is None:
                told = "The network does not show it yet: the shopper is told as soon as it does."
                self.message_user(request, told, messages.WARNING)
        except refunds.AlreadyRefunded:  # between the look above and the lock
            self.message_user(request, "It was recorded already.", messages.WARNING)

    @admin.display(description="order", ordering="invoice__order_code")
    def of_order(self, refund):
        """Leads to the refund; a link to the order inside it would leave it empty."""
        return refund.invoice.order

    @admin.display(description="order")
    def order(self, refund):
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:payments_invoice_change", args=[refund.invoice_id]),
            refund.invoice.order,
        )

    @admin.display(description="state")
    def standing(self, refund):
        unseen = refund.is_sent and not refund.is_verified
        return f"{refund.get_state_display()}{', not seen on the network yet' * unseen}"

    @admin.display(description="amount")
    def to_send(self, refund):
        return refund.attempt.format(refund.current_amount)

    @admin.display(description="received, not confirmed yet")
    def unconfirmed(self, refund):
        tally = refund.invoice.balance.tally(refund.attempt_id)
        return refund.attempt.format(tally.received - tally.confirmed)

    @admin.display(description="payments seen by others than callbacks", boolean=True)
    def verified(self, refund):
        payments = refund.invoice.confirmed_transactions
        return bool(payments) and all(row.verified_confirmations is not None for row in payments)

    @admin.display(description="whose address")
    def ours(self, refund):
        known = PaymentAttempt.objects.filter(
            asset_code=refund.attempt.asset_code, reference=refund.destination
        )
        own = known.select_related("invoice").first()
        if own is None:
            return "Not known to the shop"
        return f"Look out: the shop’s own, of order {own.invoice}!"

    @admin.display(description="to pay it, open or copy")
    def pay(self, refund):
        provider = providers.get(refund.attempt.provider)
        amount = refund.current_amount
        if not refund.is_open or not amount or not isinstance(provider, RefundsByHand):
            return "—"
        label = f"{settings.SHOP_NAME}, refund for {refund.invoice.order}"
        uri = provider.refund_uri(refund.destination, amount, label)
        return format_html('<a href="{0}">{0}</a>', uri)

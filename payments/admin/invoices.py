from django.contrib import admin, messages
from django.db.models import Exists, OuterRef, Prefetch
from django.template.loader import render_to_string
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html

from payments import presentation, providers, refunds, review
from payments.models import (
    Callback,
    Event,
    Invoice,
    InvoiceLine,
    Mail,
    PaymentAttempt,
)
from payments.providers.base import LimitsUnusedAddresses
from payments.settlement import Settlement
from payments.templatetags.money import fiat

from . import actions
from .forms import CancelForm
from .pasted import meant_by
from .read_only import ReadOnly


class LineInline(ReadOnly, admin.TabularInline):
    model = InvoiceLine
    fields = ["title", "product", "quantity", "price", "stock"]
    readonly_fields = ["price"]
    extra = 0

    @admin.display(description="unit price")
    def price(self, line):
        return fiat(line.unit_price, line.invoice.currency)

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("product", "invoice")


class AttemptInline(ReadOnly, admin.StackedInline):
    model = PaymentAttempt
    verbose_name_plural = "ways to pay"
    fields = ["provider", "reference", "asked_for", "rate", "quoted_at", "expires_at"]
    readonly_fields = fields
    extra = 0

    @admin.display(description="asked for by the quote")
    def asked_for(self, attempt):
        return attempt.format(attempt.due)


class CallbackInline(ReadOnly, admin.TabularInline):
    model = Callback
    fields = ["received_at", "outcome", "query", "body", "note"]
    readonly_fields = fields
    extra = 0


class SettlementFilter(admin.SimpleListFilter):
    """By settlement; expired is told by the clock, so it is no value of the column."""

    title = "settlement"
    parameter_name = "settlement"

    def lookups(self, request, model_admin):
        return [(each.value, presentation.STATES[each.value].staff_label) for each in Settlement]

    def queryset(self, request, queryset):
        waiting = queryset.filter(settlement=Settlement.WAITING)
        attempts = PaymentAttempt.objects.filter(invoice=OuterRef("pk"))
        stands = Exists(attempts.filter(expires_at__gt=timezone.now()))
        match self.value():
            case None:
                return queryset
            case Settlement.WAITING:
                return waiting.filter(stands)
            case Settlement.EXPIRED:
                return waiting.exclude(stands)
            case settlement:
                return queryset.filter(settlement=settlement)


class ReviewFilter(admin.SimpleListFilter):
    title = "review"
    parameter_name = "review"

    def lookups(self, request, model_admin):
        return [("needed", "Needs review")]

    def queryset(self, request, queryset):
        return queryset.exclude(review="") if self.value() else queryset


class OverpaidFilter(admin.SimpleListFilter):
    title = "too much paid"
    parameter_name = "overpaid"

    def lookups(self, request, model_admin):
        return [("kept", "Overpaid, nothing sent back"), ("all", "Overpaid")]

    def queryset(self, request, queryset):
        if not self.value():
            return queryset
        overpaid = queryset.filter(is_overpaid=True)
        return overpaid.exclude(refunds__state="sent") if self.value() == "kept" else overpaid


class EventInline(ReadOnly, admin.TabularInline):
    model = Event
    verbose_name_plural = "timeline"
    fields = ["at", "kind", "by", "note"]
    extra = 0


class MailInline(ReadOnly, admin.TabularInline):
    model = Mail
    fields = ["kind", "to", "created_at", "sent_at", "superseded_at"]
    readonly_fields = fields
    extra = 0


@admin.register(Invoice)
class InvoiceAdmin(ReadOnly, admin.ModelAdmin):
    list_display = [
        "order",
        "sold",
        "price",
        "now",
        "confirmed",
        "overpaid",
        "depth",
        "created_at",
        "paid_at",
    ]
    list_filter = [SettlementFilter, ReviewFilter, OverpaidFilter, "created_at"]
    search_fields = [
        "order_code",
        "attempts__reference",
        "attempts__transactions__transaction_id",
        "refunds__transaction_id",
        "email",
        "=key",
    ]
    search_help_text = (
        "Order code, address, transaction id or e-mail address, or a link that has one of them"
    )
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-pk"]
    show_full_result_count = False
    list_per_page = 50
    view_on_site = False
    inlines = [LineInline, AttemptInline, EventInline, MailInline, CallbackInline]
    actions = ["mark_as_reviewed", "cancel"]
    fieldsets = [
        (None, {"fields": ["order", "now", "price", "review", "paid_at", "email", "page"]}),
        ("Payment", {"fields": ["received", "confirmed", "overpaid", "refund", "transactions"]}),
        ("Kept since", {"fields": ["created_at", "updated_at"]}),
    ]

    @admin.action(description="Mark as reviewed", permissions=["review"])
    def mark_as_reviewed(self, request, queryset):
        for invoice in queryset.exclude(review=""):
            review.mark_as_reviewed(invoice, by=f"merchant {request.user}")

    def changelist_view(self, request, extra_context=None):
        """Says how near the wallet's gap limit is."""
        unused = {
            each.service: PaymentAttempt.objects.unused_address_count(each.slug)
            for each in providers.ways_to_pay()
            if isinstance(each, LimitsUnusedAddresses)
        }
        counts = ", ".join(f"{count} at {service}" for service, count in unused.items())
        if counts:
            told = f"Unpaid addresses in a row: {counts}; most wallets look no further than 20."
            extra_context = {"subtitle": told, **(extra_context or {})}
        return super().changelist_view(request, extra_context)

    @admin.action(description="Cancel, so that nothing is delivered", permissions=["review"])
    def cancel(self, request, queryset):
        """Asks for the reason first; what is paid meanwhile is delivered and stays so."""
        form = actions.filled_in(CancelForm, request)
        if not form.is_valid():
            label = "Cancel, so that nothing is delivered"
            told = (
                "These orders will never count as paid, and nothing of them is delivered. Whoever "
                "has paid something can ask for it back on the page of the order."
            )
            return actions.ask(self, request, queryset, form, "cancel", label, told)
        for invoice in queryset:
            reason = form.cleaned_data["reason"]
            if refunds.cancel(invoice, f"merchant {request.user}", reason):
                self.message_user(request, f"Order {invoice} is cancelled.")
            else:
                told = f"Order {invoice} is paid, so it cannot be cancelled any more."
                self.message_user(request, told, messages.ERROR)

    def has_review_permission(self, request):
        return request.user.has_perm("payments.change_invoice")

    def get_queryset(self, request):
        lines = Prefetch("lines", InvoiceLine.objects.order_by("pk"))
        related = ["attempts__transactions", "attempts__refunds", lines]
        return super().get_queryset(request).prefetch_related(*related)

    def get_search_results(self, request, queryset, search_term):
        """Links are pasted as they are."""
        return super().get_search_results(request, queryset, meant_by(search_term))

    @admin.display(ordering="order_code")
    def order(self, invoice):
        return invoice.order

    @admin.display(description="goods")
    def sold(self, invoice):
        return ", ".join(str(line) for line in invoice.lines.all())

    @admin.display(description="total", ordering="total")
    def price(self, invoice):
        return fiat(invoice.total, invoice.currency)

    @admin.display(description="settlement")
    def now(self, invoice):
        return presentation.state_of(invoice, timezone.now()).staff_label

    @admin.display(description="network")
    def depth(self, invoice):
        return presentation.STATUS_WORDS[presentation.status_of(invoice)]

    @admin.display(description="received")
    def received(self, invoice):
        return invoice.attempt.format(invoice.attempt.tally.received)

    @admin.display(description="confirmed")
    def confirmed(self, invoice):
        return invoice.attempt.format(invoice.attempt.tally.confirmed)

    @admin.display(description="overpaid")
    def overpaid(self, invoice):
        over = [attempt for attempt in invoice.attempts.all() if attempt.is_overpaid]
        return ", ".join(attempt.format(attempt.tally.excess) for attempt in over) or "–"

    @admin.display(description="to send back")
    def refund(self, invoice):
        """What the shopper may ask back, and the way to the request, if there is one."""
        attempt = invoice.attempt
        asked = next(iter(attempt.refunds.all()), None)
        amount = attempt.format(attempt.refundable)
        if asked is None:
            return amount
        return format_html(
            '<a href="{}">{}, asked for to {}</a>',
            reverse("admin:payments_refund_change", args=[asked.pk]),
            amount,
            asked.destination,
        )

    @admin.display(description="payments")
    def transactions(self, invoice):
        rows = {"transactions": invoice.transactions}
        return render_to_string("admin/payments/transactions.html", rows)

    def get_fieldsets(self, request, obj=None):
        """Whoever may only look does not get the key: it opens the goods and the refund."""
        fieldsets = super().get_fieldsets(request, obj)
        if request.user.has_perm("payments.act_for_shopper"):
            return fieldsets
        (name, options), *others = fieldsets
        fields = [field for field in options["fields"] if field != "page"]
        return [(name, {**options, "fields": fields}), *others]

    @admin.display(description="the shopper's page")
    def page(self, invoice):
        return format_html('<a href="{}">Open</a>', invoice.get_absolute_url())

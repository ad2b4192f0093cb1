import re

from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Prefetch
from django.http import Http404
from django.shortcuts import get_object_or_404
from django.urls import path
from django.utils import timezone
from django.utils.html import format_html
from django_tasks.base import TaskResultStatus
from django_tasks_db.admin import DBTaskResultAdmin
from django_tasks_db.models import DBTaskResult, get_date_max

from . import providers
from .goods import GoodsResponse
from .management.commands.worker import try_again
from .models import Callback, Event, Invoice, InvoiceLine, Mail, Product, Transaction
from .templatetags.money import bitcoin, fiat

admin.site.site_header = "The merchant’s desk"
admin.site.site_title = "Desk"
admin.site.index_title = "Products, invoices, money"


class ReadOnly:
    """Facts are looked at here, not made."""

    def has_add_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        return False

    def has_delete_permission(self, request, obj=None):
        return False


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = ["preview", "title", "price", "active", "has_file", "created_at"]
    list_display_links = ["preview", "title"]
    list_filter = ["active"]
    list_editable = ["active"]
    search_fields = ["title", "description"]
    prepopulated_fields = {"slug": ["title"]}
    readonly_fields = ["preview", "created_at", "updated_at"]
    show_full_result_count = False

    def get_urls(self):
        goods = self.admin_site.admin_view(self.goods)
        return [
            path("goods/<path:name>", goods, name="payments_product_goods"),
            *super().get_urls(),
        ]

    def goods(self, request, name):
        """The file itself, for whoever may see products here."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        try:
            return GoodsResponse(get_object_or_404(Product, file=name).file)
        except FileNotFoundError as error:
            raise Http404 from error

    @admin.display(description="picture")
    def preview(self, product):
        if not product.picture:
            return "—"
        return format_html(
            '<img src="{}" alt="Preview of {}" width="96" height="54">',
            product.picture.url,
            product.title,
        )

    @admin.display(description="file", boolean=True)
    def has_file(self, product):
        return bool(product.file)


class LineInline(ReadOnly, admin.TabularInline):
    model = InvoiceLine
    fields = ["title", "product", "quantity", "unit_price"]
    extra = 0

    def get_queryset(self, request):
        return super().get_queryset(request).select_related("product")


class TransactionInline(ReadOnly, admin.TabularInline):
    model = Transaction
    fields = [
        "txid",
        "btc",
        "status",
        "rbf",
        "late",
        "rate",
        "verified_status",
        "first_seen",
        "last_seen",
        "dropped_at",
    ]
    readonly_fields = ["btc"]
    extra = 0

    @admin.display(description="BTC")
    def btc(self, transaction):
        return bitcoin(transaction.amount)


class CallbackInline(ReadOnly, admin.TabularInline):
    model = Callback
    fields = ["received_at", "outcome", "query", "note"]
    readonly_fields = fields
    extra = 0


class SettlementFilter(admin.SimpleListFilter):
    """By settlement; expired is told by the clock, so it is no value of the column."""

    title = "settlement"
    parameter_name = "settlement"

    def lookups(self, request, model_admin):
        return Invoice.Settlement.choices

    def queryset(self, request, queryset):
        waiting = queryset.filter(settlement=Invoice.Settlement.WAITING)
        match self.value():
            case None:
                return queryset
            case Invoice.Settlement.WAITING:
                return waiting.filter(expires_at__gt=timezone.now())
            case Invoice.Settlement.EXPIRED:
                return waiting.filter(expires_at__lte=timezone.now())
            case settlement:
                return queryset.filter(settlement=settlement)


class ReviewFilter(admin.SimpleListFilter):
    title = "review"
    parameter_name = "review"

    def lookups(self, request, model_admin):
        return [("needed", "Needs review")]

    def queryset(self, request, queryset):
        return queryset.exclude(review="") if self.value() else queryset


class EventInline(ReadOnly, admin.TabularInline):
    model = Event
    verbose_name_plural = "timeline"
    fields = ["at", "kind", "by", "note"]
    extra = 0


class MailInline(ReadOnly, admin.TabularInline):
    model = Mail
    fields = ["kind", "to", "created_at", "sent_at"]
    readonly_fields = fields
    extra = 0


@admin.register(Invoice)
class InvoiceAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["order", "sold", "price", "now", "confirmed", "status", "created_at", "paid_at"]
    list_filter = [SettlementFilter, ReviewFilter, "created_at", "status"]
    search_fields = ["order_code", "reference", "transactions__txid", "email"]
    search_help_text = "Order code, address, transaction id or e-mail address"
    date_hierarchy = "created_at"
    ordering = ["-created_at", "-pk"]
    show_full_result_count = False
    list_per_page = 50
    inlines = [LineInline, TransactionInline, EventInline, MailInline, CallbackInline]
    actions = ["mark_as_reviewed"]
    fieldsets = [
        (None, {"fields": ["order", "now", "price", "review", "paid_at", "email", "page"]}),
        (
            "Payment",
            {
                "fields": [
                    "provider",
                    "asset",
                    "reference",
                    "received",
                    "confirmed",
                    "overpaid_btc",
                    "status",
                ]
            },
        ),
        ("Quote", {"fields": ["rate", "due_btc", "quoted_at", "expires_at"]}),
        ("Kept since", {"fields": ["created_at", "updated_at"]}),
    ]

    @admin.action(description="Mark as reviewed", permissions=["review"])
    def mark_as_reviewed(self, request, queryset):
        for invoice in queryset.exclude(review=""):
            invoice.mark_as_reviewed(by=f"merchant {request.user}")

    def has_review_permission(self, request):
        return request.user.has_perm("payments.change_invoice")

    def get_queryset(self, request):
        lines = Prefetch("lines", InvoiceLine.objects.order_by("pk"))
        return super().get_queryset(request).prefetch_related("transactions", lines)

    def get_search_results(self, request, queryset, search_term):
        """Order codes are read out as 7K3M-QX2P and kept without the hyphen."""
        words = search_term.split()
        if len(words) == 1 and re.fullmatch(r"\w{1,4}-\w{0,4}", words[0], re.ASCII):
            search_term = words[0].replace("-", "")
        return super().get_search_results(request, queryset, search_term)

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
        return invoice.conclusion(timezone.now()).label

    @admin.display(description="received (BTC)")
    def received(self, invoice):
        return bitcoin(invoice.books.received)

    @admin.display(description="confirmed (BTC)")
    def confirmed(self, invoice):
        return bitcoin(invoice.books.confirmed)

    @admin.display(description="asked for by the quote (BTC)")
    def due_btc(self, invoice):
        return bitcoin(invoice.due)

    @admin.display(description="overpaid (BTC)")
    def overpaid_btc(self, invoice):
        return bitcoin(invoice.overpaid)

    @admin.display(description="the shopper's page")
    def page(self, invoice):
        return format_html('<a href="{}">Open</a>', invoice.get_absolute_url())


@admin.register(Callback)
class CallbackAdmin(ReadOnly, admin.ModelAdmin):
    list_display = ["received_at", "provider", "outcome", "invoice", "note"]
    list_filter = ["outcome", "provider", "received_at"]
    search_fields = ["query", "note", "invoice__order_code"]
    search_help_text = "Address, transaction id, reason or order code"
    date_hierarchy = "received_at"
    list_select_related = ["invoice"]
    show_full_result_count = False
    fields = ["received_at", "provider", "query", "outcome", "invoice", "note"]
    actions = ["process_again"]

    @admin.action(description="Process again", permissions=["process"])
    def process_again(self, request, queryset):
        for callback in queryset.order_by("pk"):
            try:
                callback.process_again(providers.get(callback.provider), f"merchant {request.user}")
                told, level = callback.get_outcome_display(), messages.INFO
            except Exception as error:
                told, level = f"{type(error).__name__}: {error}", messages.ERROR
            self.message_user(request, f"Callback {callback.pk}: {told}", level)

    def has_process_permission(self, request):
        return request.user.has_perm("payments.change_callback")


admin.site.unregister(DBTaskResult)


@admin.register(DBTaskResult)
class TaskAdmin(DBTaskResultAdmin):
    """What the workers did, will do, and gave up; what was given up can be tried again."""

    list_display = ["task_name", "about", "status", "attempts", "trouble", "enqueued_at", "next"]
    list_filter = ["status", "task_path", "enqueued_at"]
    search_fields = ["task_path", "exception_class_path", "traceback"]
    show_full_result_count = False
    actions = ["try_again"]

    @admin.action(description="Try again", permissions=["retry"])
    def try_again(self, request, queryset):
        self.message_user(request, f"To be tried again: {try_again(queryset)}")

    def has_retry_permission(self, request):
        return request.user.has_perm("django_tasks_database.change_dbtaskresult")

    @admin.display(description="about")
    def about(self, task):
        return ", ".join(str(argument) for argument in task.args_kwargs["args"])[:80]

    @admin.display(description="attempts")
    def attempts(self, task):
        return len(task.worker_ids)

    @admin.display(description="what went wrong last")
    def trouble(self, task):
        return task.traceback.strip().rpartition("\n")[2][:160]

    @admin.display(description="next attempt", ordering="run_after")
    def next(self, task):
        waits = task.status == TaskResultStatus.READY and task.run_after != get_date_max()
        return task.run_after if waits else None

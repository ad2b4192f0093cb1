import re

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F, Prefetch
from django.db.models.functions import Greatest
from django.http import Http404
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.html import format_html
from django_tasks.base import TaskResultStatus
from django_tasks_db.admin import DBTaskResultAdmin
from django_tasks_db.models import DBTaskResult, get_date_max

from . import pictures, providers
from .forms import CancelForm, RefundPaidForm, figures, read_figures
from .goods import GoodsResponse
from .management.commands.worker import try_again
from .models import (
    Callback,
    Category,
    Event,
    Invoice,
    InvoiceLine,
    Mail,
    Picture,
    Product,
    RefundClaim,
    Status,
    Transaction,
)
from .models.refunds import AlreadyRefunded, BeingSent, LookAgain
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


@admin.register(Category)
class CategoryAdmin(admin.ModelAdmin):
    list_display = ["title", "position"]
    list_editable = ["position"]
    search_fields = ["title"]
    prepopulated_fields = {"slug": ["title"]}


class PictureForm(forms.ModelForm):
    def clean_image(self):
        image = self.cleaned_data["image"]
        if image and "image" in self.changed_data:
            pictures.check(image)
        return image


class PictureInline(admin.TabularInline):
    model = Picture
    form = PictureForm
    fields = ["preview", "image", "alt", "position"]
    readonly_fields = ["preview"]
    extra = 1

    @admin.display(description="preview")
    def preview(self, picture):
        return thumbnail(picture if picture.pk else None)


def thumbnail(picture: Picture | None):
    if picture is None:
        return "—"
    return format_html(
        '<img src="{}" alt="{}" width="{}" height="54">',
        picture.thumbnail,
        str(picture),
        round(54 * picture.width / picture.height) if picture.height else 96,
    )


@admin.register(Product)
class ProductAdmin(admin.ModelAdmin):
    list_display = [
        "preview",
        "title",
        "category",
        "price",
        "stock",
        "active",
        "has_file",
        "created_at",
    ]
    list_display_links = ["preview", "title"]
    list_filter = ["active", "category"]
    list_editable = ["active"]
    list_select_related = ["category"]
    search_fields = ["title", "description"]
    prepopulated_fields = {"slug": ["title"]}
    readonly_fields = ["created_at", "updated_at"]
    inlines = [PictureInline]
    show_full_result_count = False

    def get_queryset(self, request):
        return super().get_queryset(request).with_pictures()

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

    def formfield_for_dbfield(self, db_field, request, **kwargs):
        if db_field.name == "stock":
            kwargs["show_hidden_initial"] = True  # what the merchant saw
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_model(self, request, product, form, change):
        """The stock moves while a merchant types: what is saved is the difference they made."""
        if change and "stock" not in form.changed_data:
            product.stock = F("stock")
        elif change and product.stock is not None:
            seen = form.data.get(form.add_initial_prefix("stock"))
            if seen:
                product.stock = Greatest(F("stock") + product.stock - int(seen), 0)
        super().save_model(request, product, form, change)
        product.refresh_from_db(fields=["stock"])
        # After the commit, as invoices are locked before products everywhere else.
        by = f"merchant {request.user}"
        transaction.on_commit(lambda: Invoice.objects.supply(product.pk, by))

    @admin.display(description="picture")
    def preview(self, product):
        return thumbnail(product.cover)

    @admin.display(description="file", boolean=True)
    def has_file(self, product):
        return bool(product.file)


class LineInline(ReadOnly, admin.TabularInline):
    model = InvoiceLine
    fields = ["title", "product", "quantity", "unit_price", "stock"]
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
    fields = ["kind", "to", "created_at", "sent_at", "overtaken_at"]
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
    actions = ["mark_as_reviewed", "cancel"]
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
                    "refund",
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

    def changelist_view(self, request, extra_context=None):
        """Says how near the wallet's gap limit is."""
        unused = Invoice.objects.unused_in_a_row().count()
        subtitle = f"Unpaid addresses in a row: {unused}; most wallets look no further than 20."
        return super().changelist_view(request, {"subtitle": subtitle, **(extra_context or {})})

    @admin.action(description="Cancel, so that nothing is delivered", permissions=["review"])
    def cancel(self, request, queryset):
        """Asks for the reason first; what is paid meanwhile is delivered and stays so."""
        form = CancelForm(request.POST if "confirmed" in request.POST else None)
        if not form.is_valid():
            return TemplateResponse(
                request,
                "admin/payments/cancel.html",
                {
                    **self.admin_site.each_context(request),
                    "title": "Cancel, so that nothing is delivered",
                    "opts": self.opts,
                    "invoices": queryset,
                    "form": form,
                    "action_checkbox_name": ACTION_CHECKBOX_NAME,
                },
            )
        for invoice in queryset:
            if invoice.cancel(f"merchant {request.user}", form.cleaned_data["reason"]):
                self.message_user(request, f"Order {invoice} is cancelled.")
            else:
                told = f"Order {invoice} is paid, so it cannot be cancelled any more."
                self.message_user(request, told, messages.ERROR)

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
        return invoice.standing(timezone.now()).label

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

    @admin.display(description="to send back (BTC)")
    def refund(self, invoice):
        """What the shopper may ask back, and the way to the claim, if there is one."""
        claim = getattr(invoice, "refund_claim", None)
        if claim is None:
            return bitcoin(invoice.refundable)
        return format_html(
            '<a href="{}">{}, claimed for {}</a>',
            reverse("admin:payments_refundclaim_change", args=[claim.pk]),
            bitcoin(invoice.refundable),
            claim.address,
        )

    @admin.display(description="the shopper's page")
    def page(self, invoice):
        return format_html('<a href="{}">Open</a>', invoice.get_absolute_url())


class RefundStateFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request, model_admin):
        return [("open", "To be paid"), ("refunded", "Paid"), ("withdrawn", "Taken back")]

    def queryset(self, request, queryset):
        match self.value():
            case "open":
                return queryset.open()
            case "refunded":
                return queryset.refunded()
            case "withdrawn":
                return queryset.withdrawn()
        return queryset


@admin.register(RefundClaim)
class RefundClaimAdmin(admin.ModelAdmin):
    """Money that shoppers want back: paid from the merchant's own wallet, and recorded here."""

    form = RefundPaidForm
    list_display = ["order", "btc", "address", "state", "claimed_at", "refunded_at"]
    list_filter = [RefundStateFilter, "claimed_at"]
    search_fields = ["invoice__order_code", "address", "txid"]
    search_help_text = "Order code, address or transaction id"
    date_hierarchy = "claimed_at"
    show_full_result_count = False
    list_per_page = 50
    actions = None
    facts = [
        *["order", "state", "btc", "unconfirmed", "verified", "address", "ours", "pay", "note"],
        *["claimed_at", "withdrawn_at", "sending_at", "refunded_at", "refunded_by"],
    ]

    def has_add_permission(self, request):
        return False

    def has_delete_permission(self, request, obj=None):
        return False

    def has_change_permission(self, request, obj=None):
        """What was recorded stays; until then somebody who may pays and records it."""
        is_open = obj is None or obj.refunded_at is None
        return is_open and super().has_change_permission(request, obj)

    def get_queryset(self, request):
        claims = super().get_queryset(request).select_related("invoice")
        return claims.prefetch_related("invoice__transactions", "invoice__lines")

    def get_fields(self, request, obj=None):
        return [*self.facts, "txid", *(["shown"] if self._may_record(request, obj) else [])]

    def get_readonly_fields(self, request, obj=None):
        return self.facts if self._may_record(request, obj) else [*self.facts, "txid"]

    def _may_record(self, request, claim) -> bool:
        """Whether there is something to record, and somebody who may.

        What a page told to send may have been sent, whatever the books say since.
        """
        if claim is None or not self.has_change_permission(request, claim):
            return False
        return bool(claim.sum or read_figures(request.POST.get("shown", ""), claim))

    def change_view(self, request, object_id, form_url="", extra_context=None):
        """A second click on "Save" hears that it is done."""
        if request.method == "POST" and self._was_recorded(object_id):
            self.message_user(request, "This refund was recorded already.", messages.WARNING)
            return redirect(request.path)
        if request.method == "POST" and "step" in request.POST:
            return self._take_step(request, object_id)
        return super().change_view(request, object_id, form_url, extra_context)

    def _was_recorded(self, object_id: str) -> bool:
        return object_id.isdigit() and RefundClaim.objects.refunded().filter(pk=object_id).exists()

    def render_change_form(self, request, context, *args, obj=None, **kwargs):
        if self._may_record(request, obj):
            context |= {"advice": self._advice(obj), "step": self._step(obj)}
            context["figures"] = figures(obj)
        return super().render_change_form(request, context, *args, obj=obj, **kwargs)

    def _advice(self, claim) -> str:
        if claim.is_withdrawn:
            return (
                "The shopper has taken this back: send nothing. If you had sent it before, record "
                "its transaction id below."
            )
        if claim.is_being_sent:
            return (
                "Send it from your own wallet now, and record its transaction id below. Until "
                "then the shopper can neither correct the claim nor take it back."
            )
        return (
            "Press this before you send: from then on the shopper can neither correct the claim "
            "nor take it back while the money is on its way, and nobody else at the desk sends it "
            "a second time."
        )

    def _step(self, claim) -> tuple[str, str] | None:
        if claim.is_being_sent:
            return ("keep-back", "I have not sent it after all")
        return ("send", "I am sending this now") if claim.is_open else None

    def _take_step(self, request, object_id):
        """The merchant is about to send the money, or has not sent it after all."""
        claim = self.get_object(request, object_id)
        if claim is None:
            raise Http404
        if not self.has_change_permission(request, claim):
            raise PermissionDenied
        told, level = self._told_of_step(request, claim)
        self.message_user(request, told, level)
        return redirect(request.path)

    def _told_of_step(self, request, claim) -> tuple[str, int]:
        by = f"merchant {request.user}"
        if request.POST["step"] == "keep-back":
            RefundClaim.objects.keep_back(claim, by)
            return "It is noted as not sent.", messages.INFO
        shown = read_figures(request.POST.get("shown", ""), claim)
        try:
            RefundClaim.objects.send(claim, shown, by)
        except BeingSent:
            return "Somebody is sending this already: see the order’s timeline.", messages.ERROR
        except AlreadyRefunded:
            return "This refund was recorded already.", messages.WARNING
        except LookAgain:
            told = "The claim has changed meanwhile. Send nothing before you have looked again."
            return told, messages.ERROR
        return "Now send exactly what this page says.", messages.SUCCESS

    def save_model(self, request, obj, form, change):
        txid, shown = form.cleaned_data["txid"], form.cleaned_data["shown"]
        try:
            RefundClaim.objects.record(obj, txid, shown, by=f"merchant {request.user}")
        except AlreadyRefunded:  # between the look above and the lock
            self.message_user(request, "It was recorded already.", messages.WARNING)

    @admin.display(description="order", ordering="invoice__order_code")
    def order(self, claim):
        return format_html(
            '<a href="{}">{}</a>',
            reverse("admin:payments_invoice_change", args=[claim.invoice_id]),
            claim.invoice.order,
        )

    @admin.display(description="state")
    def state(self, claim):
        if claim.refunded_at:
            return "Paid"
        if claim.is_being_sent:
            return "Being sent"
        return "Taken back" if claim.is_withdrawn else "To be paid"

    @admin.display(description="amount (BTC)")
    def btc(self, claim):
        return bitcoin(claim.sum)

    @admin.display(description="received, not confirmed yet (BTC)")
    def unconfirmed(self, claim):
        books = claim.invoice.books
        return bitcoin(books.received - books.confirmed)

    @admin.display(description="payments seen by others than callbacks", boolean=True)
    def verified(self, claim):
        payments = claim.invoice.confirmed_transactions
        return bool(payments) and all(row.verified_status > Status.NOT_STARTED for row in payments)

    @admin.display(description="whose address")
    def ours(self, claim):
        own = Invoice.objects.filter(asset="BTC", reference=claim.address).first()
        return f"Look out: the shop’s own, of order {own}!" if own else "Not known to the shop"

    @admin.display(description="to pay it, open or copy")
    def pay(self, claim):
        if not claim.is_open or not claim.sum:
            return "—"
        return format_html('<a href="{0}">{0}</a>', claim.bitcoin_uri)


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

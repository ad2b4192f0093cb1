from .basket import basket, change_basket
from .checkout import create_payment
from .health import favicon, healthz
from .invoices import download, invoice, invoice_status, quote
from .order_lookup import find, invoice_email, purchases
from .receipts import receipt
from .refunds import refund
from .webhooks import callback

__all__ = [
    "basket",
    "callback",
    "change_basket",
    "create_payment",
    "download",
    "favicon",
    "find",
    "healthz",
    "invoice",
    "invoice_email",
    "invoice_status",
    "purchases",
    "quote",
    "receipt",
    "refund",
]

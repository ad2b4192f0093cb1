from .browsing import basket, change_basket, product, shelf
from .buying import create_payment
from .doors import callback, favicon, healthz
from .invoices import download, invoice, invoice_status, quote, receipt

__all__ = [
    "basket",
    "callback",
    "change_basket",
    "create_payment",
    "download",
    "favicon",
    "healthz",
    "invoice",
    "invoice_status",
    "product",
    "quote",
    "receipt",
    "shelf",
]

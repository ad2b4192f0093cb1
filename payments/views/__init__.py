from .browsing import basket, change_basket, product, shelf
from .buying import create_payment
from .crawlers import robots, sitemap, sitemap_section
from .doors import callback, favicon, healthz
from .finding import find, invoice_email, purchases
from .invoices import download, invoice, invoice_status, quote
from .receipts import receipt
from .refunds import refund

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
    "product",
    "purchases",
    "quote",
    "receipt",
    "refund",
    "robots",
    "shelf",
    "sitemap",
    "sitemap_section",
]

from .callbacks import Callback
from .invoices import Delivery, Invoice, InvoiceLine, Line
from .products import Product
from .transactions import Status, Transaction

__all__ = [
    "Callback",
    "Delivery",
    "Invoice",
    "InvoiceLine",
    "Line",
    "Product",
    "Status",
    "Transaction",
]

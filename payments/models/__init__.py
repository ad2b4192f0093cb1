from .callbacks import Callback
from .invoices import Delivery, Invoice, InvoiceLine, Line, Quote
from .mail import Mail
from .products import Product
from .timeline import Event
from .transactions import Status, Transaction
from .turns import Turn

__all__ = [
    "Callback",
    "Delivery",
    "Event",
    "Invoice",
    "InvoiceLine",
    "Line",
    "Mail",
    "Product",
    "Quote",
    "Status",
    "Transaction",
    "Turn",
]

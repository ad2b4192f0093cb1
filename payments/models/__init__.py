from .callbacks import Callback
from .invoices import Delivery, Invoice
from .lines import InvoiceLine, Line, OutOfStock
from .mail import Mail
from .products import Category, Picture, Product
from .quotes import Quote
from .refunds import RefundClaim
from .timeline import Event
from .transactions import Status, Transaction
from .turns import Turn

__all__ = [
    "Callback",
    "Category",
    "Delivery",
    "Event",
    "Invoice",
    "InvoiceLine",
    "Line",
    "OutOfStock",
    "Mail",
    "Picture",
    "Product",
    "Quote",
    "RefundClaim",
    "Status",
    "Transaction",
    "Turn",
]

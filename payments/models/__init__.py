# Products are bought here, so they are found here too.
from catalogue.models import Category, Picture, Product

from .attempt import PaymentAttempt
from .basket_line import BasketLine
from .callback import Callback
from .delivery import Delivery
from .event import Event
from .invoice import Invoice
from .lease import Lease
from .line import InvoiceLine, Line
from .mail import Mail
from .quote import Quote
from .refund import Refund
from .transaction import Transaction

__all__ = [
    "BasketLine",
    "Callback",
    "Category",
    "Delivery",
    "Event",
    "Invoice",
    "InvoiceLine",
    "Lease",
    "Line",
    "Mail",
    "PaymentAttempt",
    "Picture",
    "Product",
    "Quote",
    "Refund",
    "Transaction",
]

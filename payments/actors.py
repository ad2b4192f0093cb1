"""Who does something on an order's own page, for the timeline."""

from django.http import HttpRequest

from .models.invoice import SHOPPER


def actor(request: HttpRequest) -> str:
    """The shopper, unless somebody of the staff is logged in: then what they do is theirs."""
    is_staff = request.user.is_authenticated and request.user.is_staff
    return f"merchant {request.user}" if is_staff else SHOPPER

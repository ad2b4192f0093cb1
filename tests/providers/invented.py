import hmac
from decimal import Decimal

from django.conf import settings
from django.core.exceptions import BadRequest, PermissionDenied
from django.http import HttpResponse
from django.utils.crypto import constant_time_compare
from pydantic import BaseModel, Field, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from payments.money import MAX_AMOUNT, Asset
from payments.providers import base, http


class Session(TypedDict):
    id: str
    url: str


class Event(BaseModel, strict=True):
    type: str
    session: str
    payment: str
    cents: int = Field(ge=1, le=MAX_AMOUNT)

    def report(self):
        return base.TransactionReport(self.session, self.payment, self.cents, 1, is_final=True)


class Tally:
    """A card service that nobody runs: about the least that keeps the contract."""

    slug, label, family = "tally", "Card", "tally"

    def is_configured(self):
        return bool(settings.TALLY_KEY)

    def start(self, order):
        asset, rate = Asset.fiat(order.currency), Decimal(1)
        due = asset.to_units(order.total, rate)
        told = self._ask(Session, "sessions", {"cents": due, "token": order.token})
        return base.PaymentInstructions(told["id"], asset, due, rate, redirect_url=told["url"])

    def close(self, reference):
        """A session that nobody was shown ends by itself."""

    def authenticate(self, request):
        if request.method != "POST":
            raise base.MethodNotAllowed(["POST"])
        right = hmac.digest(settings.TALLY_KEY.encode(), request.body, "sha256").hex()
        if not constant_time_compare(request.headers.get("Tally-Signature", ""), right):
            raise PermissionDenied("Wrong or missing signature.")
        return base.AuthenticCallback(body=request.body.decode(errors="replace"))

    def parse(self, callback):
        try:
            event = Event.model_validate_json(callback.body)
        except ValidationError as error:
            raise BadRequest("This is no event of Tally's.") from error
        if event.type != "payment.succeeded":
            raise base.NotApplicable("No money came with it.")
        return [event.report()]

    def acknowledge(self, outcomes):
        return HttpResponse()

    def look_up(self, reference):
        return [each.report() for each in self._ask(list[Event], f"sessions/{reference}/payments")]

    def _ask(self, kind, path, json=None):
        headers = {"Authorization": f"Bearer {settings.TALLY_KEY}"}
        method, url = "POST" if json else "GET", f"https://tally.example/{path}"
        try:
            status, body = http.ask(method, url, json=json, headers=headers, seconds=8)
            if status in (400, 401, 403, 404):
                raise base.ProviderRefused(f"Tally {path} refused: {status}. Check TALLY_KEY.")
            return TypeAdapter(kind).validate_json(body if status == 200 else b"")
        except (http.CallFailed, ValidationError) as error:
            raise base.ProviderUnavailable(f"Tally {path} failed: {type(error).__name__}") from None

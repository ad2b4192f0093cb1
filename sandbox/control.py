"""The verbs at control/<verb>/: a JSON object in, a JSON object out. For demos and tests.

400 says what to do; 404 means that there is no such verb or transaction.
"""

import json
from decimal import Decimal, InvalidOperation

from django.core.exceptions import ValidationError
from django.db import models
from django.db.transaction import atomic
from django.http import JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from sandbox import chain
from sandbox.models import FAULTS, MAX_SATOSHIS, Settings

MAX_BLOCKS = 1000


class BadInput(ValueError):
    """What was sent cannot be used; the message says what to send instead."""


@csrf_exempt
@require_POST
def control(request, verb):
    try:
        if verb not in VERBS:
            return refusal(f"There is no verb {verb!r}; there are {', '.join(VERBS)}.", 404)
        return JsonResponse(VERBS[verb](**read_body(request, PARAMETERS[verb])))
    except chain.UnknownTransaction as error:
        return refusal(error, 404)
    except (BadInput, chain.ChainError) as error:
        return refusal(error, 400)


def refusal(error, status):
    return JsonResponse({"error": str(error)}, status=status)


def read_body(request, known):
    """The JSON object of the body; its numbers with a point are Decimal."""
    try:
        body = json.loads(request.body or b"{}", parse_float=Decimal)
    except ValueError as error:
        raise BadInput("The body is no JSON. Send an object, such as {}.") from error
    if not isinstance(body, dict):
        raise BadInput("The body is no JSON object. Send one, such as {}.")
    for name in body:
        if name not in known:
            raise BadInput(f"{name!r} is unknown here. Known are: {', '.join(known) or 'none'}.")
    return body


def whole(name, number, lowest, highest):
    """The whole number, or BadInput: neither a text nor 1.0 nor true is one."""
    if type(number) is not int or not lowest <= number <= highest:
        raise BadInput(f"{name} must be a whole number from {lowest} to {highest}.")
    return number


def text(name, value):
    if not isinstance(value, str) or not value:
        raise BadInput(f"{name} must be a text.")
    return value


# The chain


def pay(address=None, value=None, outputs=None, rbf=0):
    if outputs is None:
        outputs = [{"address": address, "value": value}]
    rbf = int(rbf) if isinstance(rbf, bool) else whole("rbf", rbf, 0, 2)
    payment = chain.pay(read_outputs(outputs), rbf=rbf)
    return {"txid": payment.txid}


def read_outputs(outputs):
    fields = {"address", "value"}
    good = isinstance(outputs, list) and outputs
    if not good or not all(isinstance(o, dict) and set(o) == fields for o in outputs):
        raise BadInput('outputs must be a list of {"address": "…", "value": satoshis}.')
    return [
        (text("address", o["address"]), whole("value", o["value"], 0, MAX_SATOSHIS))
        for o in outputs
    ]


def mine(blocks=1):
    return {"height": chain.mine(whole("blocks", blocks, 1, MAX_BLOCKS))}


def replace(txid=None, value=None, address=None):
    if value is not None:
        whole("value", value, 0, MAX_SATOSHIS)
    if address is not None:
        text("address", address)
    return {"txid": chain.replace(text("txid", txid), address=address, value=value).txid}


def drop(txid=None):
    chain.drop(text("txid", txid))
    return {}


def reorg(blocks=1):
    return {"height": chain.reorg(whole("blocks", blocks, 1, MAX_BLOCKS))}


# The settings

SETTABLE = {field.name: field for field in Settings._meta.fields if not field.primary_key}


@atomic
def change_settings(**changes):
    """Takes over the changes and answers all settings; faults are merged call by call."""
    settings = Settings.objects.locked()
    for name, value in changes.items():
        setattr(settings, name, fitting(settings, SETTABLE[name], value))
    try:
        settings.full_clean()
    except ValidationError as error:
        raise BadInput(first_message(error)) from error
    settings.save()
    settings.refresh_from_db()
    return settings_json(settings)


def fitting(settings, field, value):
    """The value in the field's own type; BadInput if it is of another."""
    if field.name == "faults":
        return {**settings.faults, **value} if isinstance(value, dict) else value
    if isinstance(field, models.DecimalField):
        return decimal(field, value)
    kind = {models.CharField: str, models.BooleanField: bool, models.JSONField: list}
    wanted = kind.get(type(field), int)
    if type(value) is not wanted:
        raise BadInput(f"{field.name} must be of the type {wanted.__name__}.")
    return value


def decimal(field, value):
    if value is None and field.null:
        return None
    if type(value) not in (int, str, Decimal):
        raise BadInput(f"{field.name} must be a number, or a text that is one.")
    try:
        number = Decimal(value)
    except InvalidOperation as error:
        raise BadInput(f"{field.name}: {value!r} is no number.") from error
    if not number.is_finite():
        raise BadInput(f"{field.name}: {value!r} is no number.")
    return number


def first_message(error):
    name, messages = next(iter(error.message_dict.items()))
    return f"{name}: {messages[0]}"


def settings_json(settings):
    """Every setting; numbers with decimals as texts, and every API call with its fault."""
    values = {name: getattr(settings, name) for name in SETTABLE}
    shown = {name: str(v) if isinstance(v, Decimal) else v for name, v in values.items()}
    return {**shown, "faults": {call: settings.fault_of(call) for call in FAULTS}}


@atomic
def reset():
    settings = Settings.objects.locked()
    settings.forget_faults()
    settings.refresh_from_db()
    return settings_json(settings)


VERBS = {
    "pay": pay,
    "mine": mine,
    "replace": replace,
    "drop": drop,
    "reorg": reorg,
    "settings": change_settings,
    "reset": reset,
}
PARAMETERS = {
    "pay": ["address", "value", "rbf", "outputs"],
    "mine": ["blocks"],
    "replace": ["txid", "value", "address"],
    "drop": ["txid"],
    "reorg": ["blocks"],
    "settings": list(SETTABLE),
    "reset": [],
}

"""What every call of the API has in common: methods, faults, the key, refusals, a JSON body."""

import asyncio
import json
from functools import wraps

from asgiref.sync import sync_to_async
from django.http import HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt

from sandbox import conf
from sandbox.blockonomics.errors import (
    Refused,
    invalid_parameter,
    login_required,
    method_not_allowed,
    not_found,
)
from sandbox.models import Account, Settings


def endpoint(*methods, fault=None, key=True):
    """A view from answer(request, account, settings, **captured).

    It lets in the methods (any, if none is named), acts out the fault of the settings, and asks
    for the API key. `fault` names the call in the settings; `key` False means public (account is
    None), and the name of a setting means that the setting decides.
    """

    def decorate(answer):
        def respond(request, **captured):
            settings = Settings.objects.current()
            try:
                if methods and request.method not in methods:
                    raise method_not_allowed(methods)
                if fault and (faulty := act_out(settings.fault_of(fault), settings)):
                    return faulty
                needs_key = getattr(settings, key) if isinstance(key, str) else key
                account = signed_in(request) if needs_key else None
                return answer(request, account, settings, **captured)
            except Refused as refused:
                return refused.response(settings.error_shape)

        # The waiting is done outside of the thread, so that no lock and no thread is held.
        @csrf_exempt
        @wraps(answer)
        async def view(request, **captured):
            response = await sync_to_async(respond)(request, **captured)
            if seconds := getattr(response, "held_for_seconds", 0):
                await asyncio.sleep(seconds)
            return response

        return view

    return decorate


def act_out(fault, settings):
    """The response of a fault, or None: then the call goes on. Some faults are Refused."""
    if fault == "timeout":
        response = HttpResponse(status=504)
        response.held_for_seconds = float(settings.timeout_seconds)
        return response
    if fault == "401":
        raise login_required()
    if fault.isdigit():
        return HttpResponse(f"<h1>Error {fault}</h1>", status=int(fault))
    return {
        "garbage": HttpResponse("<!doctype html><title>Just a moment…</title>"),
        "empty": HttpResponse("", content_type="application/json"),
        "empty_address": JsonResponse({"address": ""}),
        "null": JsonResponse({"price": None}),
        "zero": JsonResponse({"price": 0}),
    }.get(fault)


def signed_in(request):
    """The account of `Authorization: Bearer KEY`; Refused with 401 if there is none."""
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or key.strip() not in conf.api_keys():
        raise login_required()
    return Account.objects.get_or_create(api_key=key.strip())[0]


def read_json(request):
    """The JSON object in the body; an empty body is an empty object."""
    try:
        body = json.loads(request.body or b"{}")
    except ValueError as error:
        raise invalid_parameter("the body is no JSON") from error
    if not isinstance(body, dict):
        raise invalid_parameter("the body is no JSON object")
    return body


def find(queryset, pk, what):
    found = queryset.filter(pk=pk).first()
    if found is None:
        raise not_found(what)
    return found


@endpoint(key=False)
def unknown(request, account, settings):
    raise not_found("Call")

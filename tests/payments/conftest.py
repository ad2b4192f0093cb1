import json
import re

import pytest
import responses
from django.core.cache import cache

from tests.conftest import RATE, SERVICE

from .network import Network


@pytest.fixture
def network(db, settings):
    """Within this process, at the wire."""
    settings.BLOCKONOMICS_SEARCH_SECONDS = 0
    cache.set("blockonomics-price-USD", RATE, None)
    network = Network()

    def answer(request):
        path = request.url.removeprefix("http://127.0.0.1:8000")
        headers = {"Authorization": request.headers["Authorization"]}
        return network.answer(request.method, path, request.body or b"", headers)

    network.set(callbacks="off", timeout_seconds=0)
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        for method in ("GET", "POST"):
            wire.add_callback(method, re.compile(f"{SERVICE}/.*"), answer)
        yield network


@pytest.fixture
def transactions_known(service):
    """What tx_detail answers: a dict per transaction id, or a (status, body), or an exception."""
    known = {}

    def answer(request):
        given = known.get(request.params["txid"], (404, json.dumps({"error": "Not Found"})))
        if isinstance(given, Exception):
            raise given
        return (
            (given[0], {}, given[1]) if isinstance(given, tuple) else (200, {}, json.dumps(given))
        )

    service.add_callback("GET", re.compile(f"{SERVICE}/api/tx_detail.*"), answer)
    return known

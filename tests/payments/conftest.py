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

"""What the tests of the sandbox have in hand: an account with a store, and the two doors."""

import json

import pytest
from django.core.cache import cache
from django.urls import reverse

from sandbox import conf
from sandbox.models import Account, Settings, Store

API_KEY = "a-key-for-tests"
CALLBACK = "https://shop.example/callback?secret=s3cr3t-of-the-store"


@pytest.fixture(autouse=True)
def sandbox_settings(settings):
    settings.SANDBOX_API_KEYS = [API_KEY, "another-key"]
    settings.SANDBOX_BLOCK_SECONDS = 0
    settings.SANDBOX_XPUB = ""
    settings.SECURE_SSL_REDIRECT = False
    cache.clear()


@pytest.fixture
def account(db):
    return Account.objects.create(api_key=API_KEY)


@pytest.fixture
def bitcoin_wallet(account):
    return account.wallets.create(name="Savings", address=conf.TEST_KEY)


@pytest.fixture
def store(account, bitcoin_wallet):
    return Store.objects.create(
        account=account, wallet=bitcoin_wallet, name="Prints", http_callback=CALLBACK
    )


@pytest.fixture
def api(client):
    """api("POST", "new_address", match_callback="…") → response. `body` is sent as JSON."""

    def call(method, name, *args, body=None, key=API_KEY, slash=False, **query):
        headers = {"authorization": f"Bearer {key}"} if key else {}
        return client.generic(
            method,
            reverse(f"sandbox:{name}", args=args) + ("/" if slash else ""),
            b"" if body is None else json.dumps(body),
            content_type="application/json",
            query_params=query,
            headers=headers,
        )

    return call


@pytest.fixture
def control(client, db):
    """control("pay", address=…, value=…) → the answer's JSON; `status` is the expected one."""

    def call(verb, status=200, **body):
        url = reverse("sandbox:control", args=[verb])
        response = client.post(url, json.dumps(body), content_type="application/json")
        assert response.status_code == status, response.content
        return response.json()

    return call


@pytest.fixture
def new_address(api, store):
    """A function that asks for the store's next address."""
    return lambda: api("POST", "new_address").json()["address"]


@pytest.fixture
def change():
    """Changes settings of the sandbox directly."""

    def call(**values):
        row = Settings.objects.current()
        for name, value in values.items():
            setattr(row, name, value)
        row.save()

    return call

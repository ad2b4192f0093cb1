"""The callback's secret is changed as the documents say, and not one sale is lost meanwhile."""

from io import StringIO

import pytest
from django.core.cache import cache
from django.core.management import CommandError, call_command

from payments import checkout, providers
from payments.models import Callback, Invoice, Line
from payments.providers.base import ProviderError
from sandbox import conf
from sandbox.models import Account, Store, Wallet
from tests.conftest import RATE, txid

OLD, NEW = "the-old-secret-of-the-shop", "the-new-secret-of-the-shop"


@pytest.fixture
def store(network, settings):
    """The shop's store at the sandbox, with the old secret in its URL."""
    settings.BLOCKONOMICS_CALLBACK_SECRETS = [OLD]
    account = Account.objects.create(api_key="demo-api-key")
    wallet = Wallet.objects.create(account=account, address=conf.xpub(), gap_limit=1_000)
    url = providers.get("blockonomics").callback_url()
    return Store.objects.create(account=account, wallet=wallet, http_callback=url)


@pytest.fixture
def sell(store, make_product, client):
    """One sale: an address, and a callback with this secret; whether it is paid."""
    numbers = iter(range(1, 100))

    def sell(secret):
        cache.set("blockonomics-price-USD", RATE, None)
        lines, provider = [Line(make_product())], providers.get("blockonomics")
        invoice = checkout.place_order(lines, provider)
        attempt = invoice.attempt
        query = {"secret": secret, "addr": attempt.reference, "value": attempt.due, "status": 2}
        path = "/payments/callback/blockonomics"
        assert client.get(path, query | {"txid": txid(next(numbers))}).status_code == 200
        return Invoice.objects.get(pk=invoice.pk).settlement == "paid"

    return sell


def doctor():
    said = StringIO()
    try:
        call_command("doctor", stdout=said)
    except CommandError:
        said.write("MISSING something")
    return said.getvalue()


def test_the_shop_sells_at_every_step_of_the_change(sell, store, settings):
    assert sell(OLD)

    settings.BLOCKONOMICS_CALLBACK_SECRETS = [NEW, OLD]
    assert sell(OLD)
    assert "MISSING" not in doctor()

    store.http_callback = providers.get("blockonomics").callback_url()
    store.save()
    assert sell(NEW)
    assert sell(OLD)  # one that was on its way
    assert "MISSING" not in doctor()

    settings.BLOCKONOMICS_CALLBACK_SECRETS = [NEW]
    assert sell(NEW)
    assert "MISSING" not in doctor()


def test_the_doctor_tells_which_one_is_in_use_and_when_each_last_was(
    sell, store, settings, time_machine
):
    time_machine.move_to("2026-03-01 12:00:00Z", tick=False)
    settings.BLOCKONOMICS_CALLBACK_SECRETS = [NEW, OLD]
    sell(OLD)

    said = doctor()

    assert "Secret 1 of BLOCKONOMICS_CALLBACK_SECRET, which no store has: not used yet." in said
    assert (
        "Secret 2 of BLOCKONOMICS_CALLBACK_SECRET, which the store has: "
        "last used 2026-03-01 12:00:00 UTC." in said
    )


def test_no_secret_is_in_the_books(sell):
    sell(OLD)

    (kept,) = Callback.objects.values()
    assert OLD not in str(kept)
    assert len(kept["credential"]) == 16


def test_without_any_of_them_at_the_store_the_shop_says_what_is_missing(sell, store, settings):
    settings.BLOCKONOMICS_CALLBACK_SECRETS = [NEW, "another-secret-of-the-shop"]

    assert "MISSING" in doctor()
    with pytest.raises(ProviderError, match="No store has"):
        sell(NEW)

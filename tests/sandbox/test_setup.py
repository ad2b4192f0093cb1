"""How the sandbox is set up, and where it refuses to be."""

import pytest
from django.apps import apps
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

from sandbox import conf
from sandbox.apps import debug_is_on
from sandbox.models import Account, Store
from tests.sandbox.conftest import API_KEY, CALLBACK
from tests.sandbox.test_keys import ZPUB


def set_up(url=CALLBACK, key=API_KEY):
    call_command("sandbox_setup", callback_url=url, api_key=key, verbosity=0)


@pytest.mark.django_db
def test_the_demo_has_one_store_with_one_wallet():
    set_up()

    store = Store.objects.get()
    assert (store.name, store.http_callback) == ("Demo shop", CALLBACK)
    assert (store.account.api_key, store.wallet.address) == (API_KEY, conf.TEST_KEY)


@pytest.mark.django_db
def test_setting_up_twice_changes_only_the_url():
    set_up()
    set_up("http://127.0.0.1:9000/cb?secret=new")

    assert Store.objects.get().http_callback == "http://127.0.0.1:9000/cb?secret=new"
    assert Account.objects.get().wallets.count() == 1


@pytest.mark.django_db
def test_another_key_of_the_wallet_can_be_set(settings):
    settings.SANDBOX_XPUB = ZPUB
    set_up()

    assert Store.objects.get().wallet.address == ZPUB


@pytest.mark.django_db
@pytest.mark.parametrize("arguments", [{"key": "unknown"}, {"url": "shop"}])
def test_what_cannot_work_is_refused(arguments):
    with pytest.raises(CommandError):
        set_up(**arguments)

    assert not Store.objects.exists()


def test_it_refuses_to_start_with_debug_off(settings):
    settings.DEBUG = False

    with pytest.raises(ImproperlyConfigured, match="refuses to start with DEBUG off"):
        apps.get_app_config("sandbox").ready()
    assert [error.id for error in debug_is_on(None)] == ["sandbox.E001"]


def test_it_is_content_with_debug_on(settings):
    settings.DEBUG = True

    assert debug_is_on(None) == []

"""What the configuration is told at the start: each check, once silent and once not."""

import re
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from django.core.checks import Warning, registry
from django.core.management import get_commands
from dotenv import dotenv_values

from payments import checks, providers
from payments.bitcoin import checks as bitcoin
from payments.providers.blockonomics import ADVICE
from payments.providers.blockonomics import checks as blockonomics

ROOT = Path(__file__).parents[2]
# The account key of BIP84's test vectors.
ZPUB = (
    "zpub6rFR7y4Q2AijBEqTUquhVz398htDFrtymD9xYYfG1m4wAcvPhXNfE3EfH1r1ADqtfSdVCToUG868RvUUkgDKf31mGD"
    "tKsAYz2oz2AGutZYs"
)


def env_example(name):
    return dotenv_values(ROOT / ".env.example", interpolate=False)[name]


SOUND = {
    "DEBUG": False,
    "STAGING": False,
    "WAYS_TO_PAY": ["blockonomics"],
    "SECRET_KEY": "a-secret-key-of-our-own",
    "BLOCKONOMICS_URL": "https://www.blockonomics.co",
    "BLOCKONOMICS_XPUB": "",
    "SITE_URL": "https://shop.example.com",
    "REDIS_URL": "",
    "SENDFILE": "",
    "DEFAULT_FROM_EMAIL": "Shop <shop@example.com>",
    "EMAIL_REPLY_TO": "",
    "MERCHANT_EMAIL": "merchant@example.com",
    "BLOCKONOMICS_CALLBACK_SECRETS": ["a-secret-of-many-letters"],
    "BLOCKONOMICS_API_KEY": "an-api-key",
    "BLOCKONOMICS_TEST_MODE": False,
    "BITCOIN_NETWORK": "main",
    "SHOP_CURRENCY": "USD",
    "UNDERPAYMENT_TOLERANCE": Decimal(0),
    "CONFIRMATION_POLICY": "0-: 2",
    "SHOP_ACCENT": "#1f4e6b",
    "SHOP_LOGO": "/media/logo.svg",
    "TAX_RATE": Decimal(0),
    "TAX_NAME": "",
    "BLOCK_EXPLORER": "",
}
# What is wrong, and the check that says so.
TROUBLE = [
    ("payments.E001", {"BLOCKONOMICS_CALLBACK_SECRETS": []}),
    ("payments.W001", {"BLOCKONOMICS_CALLBACK_SECRETS": ["fifteen-letters"]}),
    ("payments.W001", {"BLOCKONOMICS_CALLBACK_SECRETS": ["a-secret-of-many-letters", "short"]}),
    ("payments.E002", {"BLOCKONOMICS_API_KEY": ""}),
    ("payments.E003", {"BITCOIN_NETWORK": "moon"}),
    ("payments.E003", {"BITCOIN_NETWORK": "Main"}),
    ("payments.W002", {"BLOCKONOMICS_TEST_MODE": True}),
    ("payments.E004", {"SHOP_CURRENCY": "Dollar"}),
    ("payments.E004", {"SHOP_CURRENCY": ""}),
    ("payments.E005", {"UNDERPAYMENT_TOLERANCE": Decimal(100)}),
    ("payments.E005", {"UNDERPAYMENT_TOLERANCE": Decimal("-0.1")}),
    ("payments.E006", {"CONFIRMATION_POLICY": "0-20: 1"}),
    ("payments.E006", {"CONFIRMATION_POLICY": ""}),
    ("payments.E030", {"SHOP_ACCENT": "red"}),
    ("payments.E030", {"SHOP_ACCENT": "#1f4e6"}),
    ("payments.E031", {"SHOP_LOGO": "https://elsewhere.example/logo.svg"}),
    ("payments.E031", {"SHOP_LOGO": "//elsewhere.example/logo.svg"}),
    ("payments.E006", {"CONFIRMATION_POLICY": ".-: 2"}),
    ("payments.W003", {"CONFIRMATION_POLICY": "0-5: 0, 5-: 2"}),
    ("payments.E007", {"BLOCKONOMICS_XPUB": "zpub-of-nobody"}),
    ("payments.E008", {"SECRET_KEY": env_example("SECRET_KEY")}),
    ("payments.E008", {"BLOCKONOMICS_API_KEY": env_example("BLOCKONOMICS_API_KEY")}),
    ("payments.E008", {"BLOCKONOMICS_CALLBACK_SECRETS": ["x" * 16, "demo-callback-secret"]}),
    ("payments.E009", {"BITCOIN_NETWORK": "test"}),
    ("payments.E022", {"STAGING": True}),
    ("payments.E022", {"STAGING": True, "DEBUG": True}),
    ("payments.E020", {"TAX_RATE": Decimal(-1), "TAX_NAME": "VAT"}),
    ("payments.E020", {"TAX_RATE": Decimal(100), "TAX_NAME": "VAT"}),
    ("payments.E020", {"TAX_RATE": Decimal("19.00001"), "TAX_NAME": "VAT"}),
    ("payments.E020", {"TAX_RATE": Decimal(19), "TAX_NAME": "V" * 31}),
    ("payments.W020", {"TAX_RATE": Decimal(19)}),
    ("payments.W020", {"TAX_NAME": "VAT"}),
    ("payments.E021", {"BLOCK_EXPLORER": "http://mempool.space/tx/{txid}"}),
    ("payments.E021", {"BLOCK_EXPLORER": "https://mempool.space/tx/"}),
    ("payments.E021", {"BLOCK_EXPLORER": "https://{txid}/"}),
    ("payments.E021", {"BLOCK_EXPLORER": "https://mempool.space/{txid}/{other}"}),
    ("payments.E021", {"BLOCK_EXPLORER": 'https://mempool.space/"><script>/{txid}'}),
    ("payments.E021", {"BLOCK_EXPLORER": "javascript:alert('https://a/{txid}')"}),
    ("payments.E010", {"WAYS_TO_PAY": []}),
    ("payments.E010", {"WAYS_TO_PAY": ["blockonomics", "barter"]}),
    ("payments.E011", {"TRUSTED_PROXIES": ["127.0.0.1", "proxy.example.com"]}),
    ("payments.E011", {"BEHIND_PROXY": True, "TRUSTED_PROXIES": []}),
    ("payments.W011", {"BEHIND_PROXY": True, "TRUSTED_PROXIES": ["0.0.0.0/0"]}),
    ("payments.E012", {"LIMITS": {"purchases": "many"}}),
    ("payments.E014", {"DEFAULT_FROM_EMAIL": "Shop"}),
    ("payments.E014", {"DEFAULT_FROM_EMAIL": "Shop <shop@>"}),
    ("payments.E014", {"EMAIL_REPLY_TO": "Help <help@example.com>"}),
    ("payments.E014", {"MERCHANT_EMAIL": "a@example.com, b@example.com"}),
    ("payments.E015", {"SITE_URL": "https://shop.example.com/shop"}),
    ("payments.E015", {"SITE_URL": "https://"}),
    ("payments.E016", {"REDIS_URL": "127.0.0.1:6379"}),
    ("payments.E018", {"SENDFILE": "on"}),
    ("payments.E017", {"QUOTE_LIFETIME": timedelta(0)}),
    ("payments.E013", {"ORDER_LIFETIME": timedelta(hours=23)}),
    ("payments.W012", {"LIMITS": {"purchases": "300/hour"}, "MAX_OPEN_INVOICES": 300}),
    ("payments.W012", {"LIMITS": {"purchases": "6/minute; 9/second"}, "MAX_OPEN_INVOICES": 360}),
    ("payments.W012", {"LIMITS": {"purchases": ""}, "MAX_OPEN_INVOICES": 400}),
    ("payments.W005", {"BLOCKONOMICS_URL": "http://www.blockonomics.co"}),
    ("payments.W004", {"SITE_URL": "http://shop.example.com"}),
]
SILENT = [
    {"BLOCKONOMICS_CALLBACK_SECRETS": ["sixteen-letters!"]},
    {"BLOCKONOMICS_TEST_MODE": True, "DEBUG": True},
    {"BITCOIN_NETWORK": "signet", "DEBUG": True},
    {"BITCOIN_NETWORK": "signet", "STAGING": True},
    {"BITCOIN_NETWORK": "test", "STAGING": True, "BLOCKONOMICS_TEST_MODE": True},
    {"SECRET_KEY": env_example("SECRET_KEY"), "DEBUG": True},
    {"BLOCKONOMICS_XPUB": ZPUB},
    {"TAX_RATE": Decimal("8.875"), "TAX_NAME": "Sales tax"},
    {"BLOCK_EXPLORER": "https://mempool.space/tx/{txid}"},
    {"BLOCK_EXPLORER": "https://explorer.example:8443/?network=main&tx={txid}#details"},
    {"UNDERPAYMENT_TOLERANCE": Decimal("99.99")},
    {"CONFIRMATION_POLICY": "0-5: 1, 5-: 2"},
    {"LIMITS": {"purchases": "300/hour"}, "MAX_OPEN_INVOICES": 301},
    {"LIMITS": {"purchases": "300/hour"}, "MAX_OPEN_INVOICES": 0},
    {"LIMITS": {"purchases": "60/minute; 300/day"}, "MAX_OPEN_INVOICES": 301},
]


@pytest.fixture
def said_of(settings):
    """What the shop's checks say of a sound configuration with these changes."""

    def say(changes):
        for name, value in {**SOUND, **changes}.items():
            setattr(settings, name, value)
        ours = [
            check
            for check in registry.registry.get_checks(include_deployment_checks=True)
            if check.__module__ == checks.__name__
        ]
        return [issue for check in ours for issue in check(app_configs=None)]

    return say


def test_a_sound_configuration_hears_nothing(said_of):
    assert said_of({}) == []


@pytest.mark.parametrize("changes", SILENT, ids=str)
def test_what_is_just_good_enough_hears_nothing(said_of, changes):
    assert said_of(changes) == []


@pytest.mark.parametrize(("id", "changes"), TROUBLE, ids=str)
def test_trouble_is_told_by_its_own_check_alone(said_of, id, changes):
    assert [issue.id for issue in said_of(changes)] == [id]


@pytest.mark.parametrize(("id", "changes"), TROUBLE, ids=str)
def test_trouble_is_told_with_what_to_do(said_of, id, changes):
    (issue,) = said_of(changes)

    assert issue.hint or "Write it like" in issue.msg or "has no end" in issue.msg
    assert isinstance(issue, Warning) == (".W" in id)


def test_no_secret_is_told(said_of):
    told = " ".join(map(str, said_of({"BLOCKONOMICS_CALLBACK_SECRETS": ["short-word"]})))

    assert "short-word" not in told


def test_a_way_to_pay_that_is_not_offered_needs_no_settings(said_of, monkeypatch):
    monkeypatch.setitem(providers.PROVIDERS, "tally", "tests.providers.invented.Tally")

    assert said_of({"WAYS_TO_PAY": ["tally"], "BLOCKONOMICS_API_KEY": ""}) == []


def test_every_check_of_the_shop_is_tried_here():
    sources = [Path(module.__file__).read_text() for module in (checks, bitcoin, blockonomics)]
    ids = set(re.findall(r"payments\.[EW]\d{3}", "".join(sources)))

    assert ids == {id for id, _ in TROUBLE}


def test_the_commands_that_advice_names_are_there():
    named = re.findall(r"`manage\.py (\w+)", " ".join(ADVICE.values()))

    assert set(named) <= set(get_commands())

import io
import itertools
import json
import os
import re
import secrets
from datetime import timedelta
from decimal import Decimal

import hypothesis
import pytest
import responses
from django.conf import settings
from django.contrib.auth.models import Permission, User
from django.core.cache import caches
from django.core.files.base import ContentFile
from django.db import connection
from django.utils import timezone
from embit import bip32, script
from embit.networks import NETWORKS
from PIL import Image

from catalogue.downloads import GoodsStorage
from catalogue.models import Picture, Product
from payments import checkout, ingestion, providers
from payments.models import Invoice, Line, PaymentAttempt, Transaction
from payments.providers.base import TransactionReport
from payments.providers.blockonomics import Blockonomics, asking_for_a_rate
from shop import urls  # noqa: F401 -- before a test turns the sandbox off, and with it its paths

# How long an example takes says more about the machine than about the code.
hypothesis.settings.register_profile("shop", deadline=None)
hypothesis.settings.load_profile("shop")

SERVICE = "http://127.0.0.1:8000/sandbox"
RATE = Decimal("100000")
SECRET = "demo-callback-secret"
KEY = bip32.HDKey.from_seed(b"0123456789abcdef").derive("m/84h/1h/0h").to_public()


def address(index: int) -> str:
    """A valid address of the test network."""
    return script.p2wpkh(KEY.derive([0, index])).address(NETWORKS["test"])


def txid(number: int) -> str:
    return f"{number:064x}"


def report(
    invoice, number=1, amount=None, status=2, is_replaceable=False, reference=None
) -> TransactionReport:
    """What Blockonomics reports of payment `number` to the invoice, with one of its statuses."""
    attempt = invoice.attempt if invoice else None
    return TransactionReport(
        reference or attempt.reference,
        txid(number),
        attempt.due if amount is None else amount,
        confirmations=status,
        is_final=status == 2,
        is_replaceable=is_replaceable,
    )


def invoice_of(rows, total=Decimal("10.00"), refunds=(), **fields) -> Invoice:
    """An invoice and its one attempt over these transactions, nothing of it in the database.

    Each row is (amount, status, other fields of the transaction).
    """
    now = timezone.now()
    quote = {"due": 10_000, "quoted_at": now, "expires_at": now + timedelta(minutes=15)}
    quote |= {name: fields.pop(name) for name in list(fields) if name in quote}
    invoice = Invoice(pk=1, total=total, currency="USD", **fields)
    attempt = PaymentAttempt(
        pk=1, invoice=invoice, asset_code="BTC", asset_decimals=8, rate=RATE, **quote
    )
    transactions = [
        Transaction(
            pk=number,
            attempt=attempt,
            transaction_id=txid(number),
            amount=amount,
            confirmations=status,
            is_final=status == 2,
            **{"rate": RATE, "first_seen": now, **more},
        )
        for number, (amount, status, more) in enumerate(rows)
    ]
    attempt._prefetched_objects_cache = {"transactions": transactions, "refunds": list(refunds)}
    invoice._prefetched_objects_cache = {"attempts": [attempt], "lines": []}
    return invoice


def pytest_collection_modifyitems(config, items):
    """On PostgreSQL and Redis, what touches neither need not run a second time."""
    if not os.environ.get("DATABASE_URL"):
        return
    touching = {"db", "transactional_db", "shop", "live_server"}
    chosen = [
        item
        for item in items
        if touching & set(item.fixturenames)
        or item.get_closest_marker("django_db")
        or item.get_closest_marker("xdist_group")
    ]
    config.hook.pytest_deselected(items=[item for item in items if item not in set(chosen)])
    items[:] = chosen


@pytest.fixture(scope="session")
def django_db_modify_db_settings(django_db_modify_db_settings_parallel_suffix):
    """SQLite in a file, as in the shop: threads queue for it, which in memory they cannot."""
    if connection.vendor == "sqlite":
        connection.settings_dict["TEST"]["NAME"] = str(settings.DATA_DIR / "test.sqlite3")


@pytest.fixture(scope="session", autouse=True)
def nobody_is_left_behind(django_db_setup, django_db_blocker):
    """Threads of a test may outlive it and keep PostgreSQL from dropping the test's database."""
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(autouse=True)
def quick_passwords(settings):
    """Hashing one in earnest takes half a second."""
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture(autouse=True)
def a_clean_cache():
    for each in caches.settings:
        caches[each].clear()
    yield
    for each in caches.settings:
        caches[each].clear()


@pytest.fixture
def caches_in_memory(settings):
    """Caches that can be looked into, whatever the shop's are."""
    backend = {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}
    mark = secrets.token_hex(4)
    settings.CACHES = {name: {**backend, "LOCATION": mark + name} for name in settings.CACHES}
    return lambda name: {key.split(":")[-1] for key in caches[name]._cache}


@pytest.fixture(autouse=True)
def goods_of_its_own(settings, monkeypatch, tmp_path):
    """Pictures and goods of one test are no other test's."""
    settings.MEDIA_ROOT = tmp_path / "media"
    goods = GoodsStorage(location=tmp_path / "goods")
    monkeypatch.setattr(Product._meta.get_field("file"), "storage", goods)


@pytest.fixture(autouse=True)
def nobody_asks_in_the_background(request, monkeypatch):
    """A page that finds no rate sends a thread for one, which would outlive the test."""
    if "prices_in_the_background" not in request.fixturenames:
        monkeypatch.setattr(Blockonomics, "_send_for_rate", lambda *args: None)


@pytest.fixture
def prices_in_the_background(service):
    """Lets it be sent, and waits until it is back."""
    yield
    with asking_for_a_rate:
        pass


@pytest.fixture
def provider():
    return providers.get("blockonomics")


@pytest.fixture
def service():
    """Blockonomics at the wire: a new address for each call, one bitcoin for 100,000 USD.

    Tests set `answers["new_address"]` or `answers["price"]` to (status, body) or to an exception.
    """
    with responses.RequestsMock(assert_all_requests_are_fired=False) as wire:
        addresses = map(address, itertools.count())  # for threads as well: no generator
        wire.answers = {}

        def answering(call, usual):
            def answer(request):
                given = wire.answers.get(call) or (200, usual())
                if isinstance(given, Exception):
                    raise given
                return given[0], {}, given[1]

            return answer

        new_address = answering("new_address", lambda: json.dumps({"address": next(addresses)}))
        price = answering("price", lambda: json.dumps({"price": int(RATE)}))
        wire.add_callback("POST", re.compile(f"{SERVICE}/api/new_address.*"), new_address)
        wire.add_callback("GET", re.compile(f"{SERVICE}/api/price.*"), price)
        yield wire


@pytest.fixture
def make_product(db):
    def make(title="Mountain", price="10.00", file=b"a mountain, full size", **fields):
        number = Product.objects.count() + 1
        product = Product(title=title, slug=f"product-{number}", price=Decimal(price), **fields)
        if file is not None:
            product.file.save(f"goods-{number}.txt", ContentFile(file), save=False)
        product.save()
        return product

    return make


@pytest.fixture
def make_picture(django_capture_on_commit_callbacks):
    """A picture of a product, with the sizes that are made of it after the commit."""

    def make(product, size=(640, 360), alt="", **fields):
        content = io.BytesIO()
        Image.new("RGB", size, "teal").save(content, "PNG")
        file = ContentFile(content.getvalue(), name="preview.png")
        with django_capture_on_commit_callbacks(execute=True):
            return Picture.objects.create(product=product, image=file, alt=alt, **fields)

    return make


@pytest.fixture
def product(make_product):
    return make_product()


ATTEMPT_FIELDS = {field.name for field in PaymentAttempt._meta.get_fields()} - {"invoice"}


@pytest.fixture
def make_invoice(make_product, provider, service):
    """An open invoice: 10 USD at 100,000 USD for one bitcoin, which is 10,000 satoshis.

    Fields of its payment attempt may be given as well as its own.
    """

    def make(price="10.00", quantity=1, **fields):
        lines = [Line(make_product(price=price), quantity)]
        invoice = checkout.place_order(lines, provider)
        attempt = invoice.attempt
        for name, value in fields.items():
            setattr(attempt if name in ATTEMPT_FIELDS - {"created_at"} else invoice, name, value)
        invoice.save()
        attempt.save()
        return invoice

    return make


@pytest.fixture
def invoice(make_invoice):
    return make_invoice()


@pytest.fixture
def hear(invoice, provider):
    """News of money to the invoice, past every door: hear(number=1, amount=5_000, status=0)."""

    def hear(number=1, amount=None, status=2, by="callback", **more):
        ingestion.record_report(provider, report(invoice, number, amount, status, **more), by)

    return hear


@pytest.fixture
def vanish(invoice, provider, settings):
    """The network forgets all payments for good."""
    settings.DROP_AFTER = timedelta(0)

    def vanish():
        for _ in range(2):
            ingestion.reconcile_history(provider, invoice.attempt, [], by="reconcile")

    return vanish


@pytest.fixture
def clerk(client):
    """One of the staff, who may do no more than the named permissions say."""

    def hire(*codenames):
        user = User.objects.create_user("clerk", password="clerk", is_staff=True)
        user.user_permissions.set(Permission.objects.filter(codename__in=codenames))
        client.force_login(user)
        return client

    return hire


@pytest.fixture
def catalogue(client):
    def look(**query):
        response = client.get("/", query)
        assert response.status_code == 200
        return response

    return look


@pytest.fixture
def call_back(client):
    """What Blockonomics does: a GET on the callback URL; returns the response."""

    def call(invoice=None, number=1, status=2, value=None, secret=SECRET, **more):
        query = {
            "secret": secret,
            "addr": invoice.attempt.reference if invoice else address(9_999),
            "status": status,
            "value": invoice.attempt.due if invoice and value is None else value or 10_000,
            "txid": txid(number),
            **more,
        }
        query = {name: given for name, given in query.items() if given is not None}
        return client.get("/payments/callback/blockonomics", query)

    return call

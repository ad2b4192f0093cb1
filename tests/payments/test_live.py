"""The nudge to open invoice pages: it comes, it says nothing more, and nothing hangs on it."""

import pytest
from channels.db import database_sync_to_async
from channels.layers import InMemoryChannelLayer
from channels.testing import WebsocketCommunicator

from payments import live
from payments.live import MemoryChannelLayer
from payments.models import Transaction
from sandbox import engine
from shop.asgi import application

OUR_SITE = b"http://127.0.0.1:8000"
PATIENCE_SECONDS = 10


@pytest.fixture(autouse=True)
def a_quiet_sandbox(monkeypatch):
    """The sandbox shares the door; what it does by itself is none of these tests' business."""
    monkeypatch.setattr(engine, "start", lambda: None)


@pytest.fixture
async def open_page():
    """Opens the WebSocket of an invoice page; answers it and whether it was let in."""
    opened = []

    async def connect(key, origin=OUR_SITE):
        headers = [(b"host", b"127.0.0.1:8000")] + ([(b"origin", origin)] if origin else [])
        page = WebsocketCommunicator(application, f"/ws/invoices/{key}/", headers)
        is_in, _ = await page.connect(timeout=PATIENCE_SECONDS)
        opened.append(page)
        return page, is_in

    yield connect
    for page in opened:
        await page.disconnect(timeout=PATIENCE_SECONDS)


@pytest.fixture
def call_back_from_afar(call_back):
    """The callback as a server takes it: in a thread beside the loop of the open pages."""
    return database_sync_to_async(call_back)


@pytest.mark.django_db(transaction=True)
async def test_an_open_page_hears_of_a_payment(invoice, open_page, call_back_from_afar):
    page, is_in = await open_page(invoice.key)

    response = await call_back_from_afar(invoice)

    assert is_in
    assert response.status_code == 200
    assert await page.receive_from(PATIENCE_SECONDS) == "look again"


@pytest.mark.django_db(transaction=True)
async def test_every_open_page_hears_of_it(invoice, open_page, call_back_from_afar):
    pages = [(await open_page(invoice.key))[0] for _ in range(3)]

    await call_back_from_afar(invoice)

    # One after the other: a communicator patches channels while it waits, and undoes it afterwards.
    for page in pages:
        assert await page.receive_from(PATIENCE_SECONDS) == "look again"


@pytest.mark.django_db(transaction=True)
async def test_a_page_hears_of_its_own_invoice_only(make_invoice, open_page, call_back_from_afar):
    mine, other = await database_sync_to_async(lambda: (make_invoice(), make_invoice()))()
    page, _ = await open_page(mine.key)

    await call_back_from_afar(other, number=1)
    await call_back_from_afar(mine, number=2)

    assert await page.receive_from(PATIENCE_SECONDS) == "look again"
    assert await page.receive_nothing()


@pytest.mark.django_db(transaction=True)
async def test_what_is_known_already_wakes_no_page(invoice, open_page, call_back_from_afar):
    await call_back_from_afar(invoice)
    page, _ = await open_page(invoice.key)

    await call_back_from_afar(invoice)

    assert await page.receive_nothing()


@pytest.mark.django_db(transaction=True)
async def test_a_page_that_talks_is_not_listened_to(invoice, open_page, call_back_from_afar):
    page, _ = await open_page(invoice.key)

    await page.send_to(text_data='{"type": "invoice.changed", "settlement": "paid"}')
    await page.send_to(bytes_data=b"\x00\xff")
    await call_back_from_afar(invoice)

    assert await page.receive_from(PATIENCE_SECONDS) == "look again"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("key", ["unknown", "x" * 32, "x" * 2_000, "%00", "ä", "invoice.*"])
async def test_who_knows_no_key_is_turned_away(invoice, open_page, key):
    _, is_in = await open_page(key)

    assert not is_in


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "origin",
    [b"https://evil.example", b"http://127.0.0.1.evil.example", b"null", b"nonsense", None],
)
async def test_another_site_is_turned_away(invoice, open_page, origin):
    _, is_in = await open_page(invoice.key, origin)

    assert not is_in


@pytest.mark.django_db(transaction=True)
async def test_a_page_that_left_is_forgotten(invoice, open_page, call_back_from_afar):
    gone, _ = await open_page(invoice.key)
    await gone.disconnect(timeout=PATIENCE_SECONDS)
    page, _ = await open_page(invoice.key)

    await call_back_from_afar(invoice)

    assert await page.receive_from(PATIENCE_SECONDS) == "look again"
    assert await gone.receive_nothing()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("error", [ConnectionError, TimeoutError, RuntimeError, ValueError])
def test_money_is_recorded_whatever_ails_the_channel_layer(invoice, call_back, monkeypatch, error):
    def broken():
        raise error("the channel layer is away")

    monkeypatch.setattr(live, "get_channel_layer", broken)

    response = call_back(invoice)

    invoice.refresh_from_db()
    assert response.status_code == 200
    assert invoice.settlement == "paid"
    assert Transaction.objects.count() == 1


def test_a_group_has_a_name_that_channels_takes(make_invoice):
    name = live.group_name(make_invoice().key)

    InMemoryChannelLayer().require_valid_group_name(name)


# The layer of a single process


@pytest.fixture
def sweeps(monkeypatch):
    """Counts how often the layer walks all its channels."""
    done = []
    sweep = InMemoryChannelLayer._clean_expired
    monkeypatch.setattr(
        InMemoryChannelLayer, "_clean_expired", lambda layer: (done.append(1), sweep(layer))
    )
    return done


async def test_a_thousand_messages_are_one_sweep(sweeps):
    layer = MemoryChannelLayer()

    for _ in range(1_000):
        channel = await layer.new_channel()
        await layer.send(channel, {"type": "invoice.changed"})
        await layer.receive(channel)

    assert len(sweeps) <= 1


async def test_expired_messages_are_swept_in_the_end(monkeypatch):
    monkeypatch.setattr(MemoryChannelLayer, "SECONDS_BETWEEN_SWEEPS", -1)
    layer = MemoryChannelLayer(expiry=-1)
    await layer.send("left.alone", {"type": "invoice.changed"})

    await layer.group_send("invoice.key", {"type": "invoice.changed"})

    assert "left.alone" not in layer.channels


async def test_the_layer_delivers_to_a_group():
    layer = MemoryChannelLayer()
    channels = [await layer.new_channel() for _ in range(3)]
    for channel in channels:
        await layer.group_add("invoice.key", channel)

    await layer.group_send("invoice.key", {"type": "invoice.changed"})

    for channel in channels:
        assert await layer.receive(channel) == {"type": "invoice.changed"}

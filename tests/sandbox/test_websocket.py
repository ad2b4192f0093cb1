"""The payment WebSocket: who listens to an address hears of its newest transaction."""

from urllib.parse import quote

import pytest
from channels.db import database_sync_to_async
from channels.routing import URLRouter
from channels.testing import WebsocketCommunicator

from sandbox import chain, conf, keys
from sandbox.blockonomics import websocket
from sandbox.models import Settings
from sandbox.routing import websocket_urlpatterns

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = keys.address_at(conf.TEST_KEY, 0)


class Listener:
    """A socket at /payment/<addr>."""

    def __init__(self, path, subprotocols):
        self.socket = WebsocketCommunicator(
            URLRouter(websocket_urlpatterns), path, subprotocols=subprotocols
        )

    async def __aenter__(self):
        self.connected, self.subprotocol = await self.socket.connect()
        return self

    async def __aexit__(self, *error):
        await self.socket.disconnect()

    async def hear(self):
        return await self.socket.receive_json_from()

    async def silence(self):
        return await self.socket.receive_nothing(timeout=0.05)


def listen(path=f"/payment/{ADDRESS}", subprotocols=None):
    return Listener(path, subprotocols)


pay, mine, replace, drop = (
    database_sync_to_async(verb) for verb in (chain.pay, chain.mine, chain.replace, chain.drop)
)


@database_sync_to_async
def change(**values):
    row = Settings.objects.current()
    for name, value in values.items():
        setattr(row, name, value)
    row.save()


@pytest.mark.parametrize("path", ["/payment/{}", "/payment/{}/", "/sandbox/payment/{}"])
async def test_every_status_is_told_as_it_comes(path):
    async with listen(path.format(ADDRESS)) as socket:
        payment = await pay([(ADDRESS, 1234)])
        frames = [await socket.hear()]
        await mine(2)
        frames += [await socket.hear(), await socket.hear()]
        await mine(1)

        assert frames == [
            {
                "status": status,
                "timestamp": int(payment.seen_at.timestamp()),
                "value": 1234,
                "txid": payment.txid,
            }
            for status in (0, 1, 2)
        ]
        assert await socket.silence()


async def test_who_comes_late_hears_the_newest_transaction_at_once():
    await pay([(ADDRESS, 1_000)])
    newest = await pay([(ADDRESS, 2_000), (ADDRESS, 3_000)])
    await mine(1)

    async with listen() as socket:
        frame = await socket.hear()

        assert (frame["txid"], frame["value"], frame["status"]) == (newest.txid, 5_000, 1)
        assert await socket.silence()


async def test_a_transaction_that_is_gone_is_not_told_again():
    payment = await pay([(ADDRESS, 1_000)])
    await drop(payment.txid)

    async with listen() as socket:
        assert await socket.silence()


async def test_only_the_newest_transaction_is_followed():
    async with listen() as socket:
        await pay([(ADDRESS, 1_000)])
        await socket.hear()
        newest = await pay([(ADDRESS, 2_000)])
        await socket.hear()
        await mine(1)

        frame = await socket.hear()
        assert (frame["txid"], frame["status"]) == (newest.txid, 1)
        assert await socket.silence()


async def test_a_replacement_is_a_new_transaction():
    async with listen() as socket:
        old = await pay([(ADDRESS, 2_000)])
        await socket.hear()
        new = await replace(old.txid)

        frame = await socket.hear()
        assert (frame["txid"], frame["status"]) == (new.txid, 0)


async def test_others_addresses_are_not_heard():
    async with listen() as socket:
        await pay([(chain.CUSTOMER, 1_000)])

        assert await socket.silence()


@pytest.mark.parametrize(
    "path", ["/payment/nonsense", "/payment/%C3%A4%20%00!", "/payment/" + "x" * 500]
)
async def test_a_nonsense_address_stays_silent(path):
    async with listen(path) as socket:
        assert socket.connected
        assert await socket.silence()


async def test_capitals_listen_to_the_same_address():
    await pay([(ADDRESS, 1_000)])

    async with listen(f"/payment/{ADDRESS.upper()}") as socket:
        assert (await socket.hear())["value"] == 1_000


@pytest.mark.parametrize(
    ("offered", "chosen"), [(None, None), (["json"], "json"), (["json", "text"], "json")]
)
async def test_an_offered_subprotocol_is_chosen(offered, chosen):
    async with listen(subprotocols=offered) as socket:
        assert (socket.connected, socket.subprotocol) == (True, chosen)


async def test_with_a_timestamp_nothing_older_is_told():
    payment = await pay([(ADDRESS, 1_000)])
    seen_at = int(payment.seen_at.timestamp())

    async with (
        listen(f"/payment/{ADDRESS}?timestamp={seen_at}") as at_that_moment,
        listen(f"/payment/{ADDRESS}?timestamp={seen_at + 1}") as later,
    ):
        assert (await at_that_moment.hear())["txid"] == payment.txid
        await mine(1)

        assert (await at_that_moment.hear())["status"] == 1
        assert await later.silence()


async def test_what_comes_after_the_timestamp_is_told(time_machine):
    time_machine.move_to("2026-01-01T12:00Z")
    old = await pay([(ADDRESS, 1_000)])
    since = int(old.seen_at.timestamp()) + 60

    async with listen(f"/payment/{ADDRESS}?timestamp={since}") as socket:
        time_machine.shift(61)
        new = await pay([(ADDRESS, 2_000)])

        assert (await socket.hear())["txid"] == new.txid


@pytest.mark.parametrize("timestamp", ["", "soon", "-1", "1.5", "²", "9" * 5000])
async def test_a_timestamp_that_is_none_is_ignored(timestamp):
    await pay([(ADDRESS, 1_000)])

    async with listen(f"/payment/{ADDRESS}?timestamp={quote(timestamp)}") as socket:
        assert (await socket.hear())["value"] == 1_000


async def test_the_txid_can_be_left_out():
    await change(websocket="no_txid")
    await pay([(ADDRESS, 1_000)])

    async with listen() as socket:
        assert set(await socket.hear()) == {"status", "timestamp", "value"}


async def test_an_error_can_be_told():
    await change(websocket="error_msg")

    async with listen() as socket:
        assert "expired" in (await socket.hear())["error_msg"]


async def test_connections_can_be_refused():
    await change(websocket="refuse")
    socket = WebsocketCommunicator(URLRouter(websocket_urlpatterns), f"/payment/{ADDRESS}")

    assert (await socket.connect())[0] is False


def test_names_of_groups_fit_every_layer():
    for address in (ADDRESS, "ä !", "x" * 500):
        name = websocket.group_of(address)
        assert len(name) < 100
        assert name.replace(".", "").isalnum()
        assert name.isascii()


def test_a_layer_that_fails_costs_no_payment(monkeypatch, caplog):
    def broken():
        raise ConnectionError("no layer")

    monkeypatch.setattr("sandbox.blockonomics.websocket.get_channel_layer", broken)

    chain.pay([(ADDRESS, 1_000)])

    assert "no layer" in caplog.text

"""What the engine does by itself, in the loop of a server."""

import asyncio
import contextlib

import pytest
import responses
from channels.db import database_sync_to_async

from sandbox import chain, conf, engine, keys
from sandbox.models import Account, Delivery

pytestmark = pytest.mark.django_db(transaction=True)

ADDRESS = keys.address_at(conf.TEST_KEY, 0)


@pytest.fixture
async def running(monkeypatch):
    """The engine, started by the first call of an application that it wraps."""

    async def application(scope, receive, send):
        await send({"type": "answered"})

    sent = []

    async def send(message):
        sent.append(message)

    monkeypatch.setattr(engine, "_running", [])
    monkeypatch.setattr(engine.atexit, "register", lambda *given: None)
    await engine.with_engine(application)({"type": "http"}, None, send)
    await engine.with_engine(application)({"type": "http"}, None, send)
    assert sent == [{"type": "answered"}] * 2
    task = engine._running[1]
    yield task
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


@database_sync_to_async
def pay_the_store():
    account = Account.objects.create(api_key="engine")
    wallet = account.wallets.create(address=conf.TEST_KEY)
    store = account.stores.create(http_callback="https://shop.example/cb", wallet=wallet)
    wallet.addresses.create(address=ADDRESS, index=0, store=store)
    chain.pay([(ADDRESS, 5_000)])


@database_sync_to_async
def state():
    return Delivery.objects.get().state


async def until(fact):
    async with asyncio.timeout(10):
        while not await fact():
            await asyncio.sleep(0.01)


async def test_a_payment_causes_its_callback(running):
    with responses.RequestsMock() as wire:
        wire.get("https://shop.example/cb")
        await pay_the_store()

        async def delivered():
            return await state() == "delivered"

        await until(delivered)


async def test_blocks_come_by_themselves(running, settings):
    before = await database_sync_to_async(chain.tip)()
    settings.SANDBOX_BLOCK_SECONDS = 3600

    async def mined():
        return await database_sync_to_async(chain.tip)() > before

    await until(mined)


async def test_an_accident_does_not_end_the_engine(running, monkeypatch, caplog):
    def broken(in_flight):
        raise OSError("the database is away")

    monkeypatch.setattr(engine.callbacks, "claim_due", broken)
    engine.wakeup.wake_engine()

    async def told():
        return "the database is away" in caplog.text

    await until(told)
    assert not running.done()


async def test_what_a_thread_raises_is_raised_here():
    def broken(argument):
        raise ValueError(argument)

    with pytest.raises(ValueError, match="so it is"):
        await engine.in_a_thread(broken, "so it is")


def test_the_engine_ends_with_its_loop():
    loop = asyncio.new_event_loop()

    async def endless():
        await asyncio.Event().wait()

    task = loop.create_task(endless())
    loop.run_until_complete(asyncio.sleep(0))

    engine.end(loop, task)

    assert task.cancelled()
    loop.close()
    engine.end(loop, task)

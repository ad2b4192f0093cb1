"""The few lasting threads that serve the callbacks."""

import asyncio
import threading
import time

from asgiref.sync import sync_to_async

from shop.callback_executor import PATIENCE_SECONDS, THREADS, CallbackExecutor


def serving(work):
    """An application that does this in the thread which Django would use; notes their names."""
    names = []

    def in_the_thread(path):
        names.append(threading.current_thread().name)
        work(path)

    async def application(scope, receive, send):
        await sync_to_async(in_the_thread)(scope["path"])

    return CallbackExecutor(application, "/callback/"), names


def ask(few, path):
    return few({"type": "http", "path": path}, None, None)


async def test_callbacks_share_a_few_threads_and_nothing_else_does():
    few, names = serving(lambda path: None)

    await asyncio.gather(*(ask(few, "/callback/") for _ in range(50)))
    assert all(name.startswith("callbacks-") for name in names)
    assert len(set(names)) <= THREADS

    names.clear()
    await ask(few, "/payments/create/7/")
    assert not names[0].startswith("callbacks-")


async def test_a_callback_that_waits_for_others_holds_up_no_other():
    few, _ = serving(lambda path: time.sleep(5 * PATIENCE_SECONDS if "late" in path else 0))
    late = asyncio.create_task(ask(few, "/callback/late"))
    await asyncio.sleep(0.01)

    await asyncio.wait_for(ask(few, "/callback/"), 3 * PATIENCE_SECONDS)

    assert not late.done()
    await late


async def test_a_failure_gives_its_turn_back():
    few, _ = serving(lambda path: 1 / 0 if "ill" in path else None)
    for path in ["/callback/ill"] * (2 * THREADS):
        try:
            await ask(few, path)
        except ZeroDivisionError:
            continue

    await asyncio.wait_for(ask(few, "/callback/"), 5)

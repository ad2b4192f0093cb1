"""Wakes the engine at once when a callback is due, instead of at its next look."""

_wake = []


def register(loop, event):
    """From now on `wake_engine`, called from any thread, sets this event of this loop."""
    _wake[:] = [(loop, event)]


def wake_engine():
    for loop, event in _wake:
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

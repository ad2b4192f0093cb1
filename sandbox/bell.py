"""Wakes the engine at once when a callback is due, instead of at its next look."""

_wake = []


def listen(loop, event):
    """From now on `ring`, called from any thread, sets this event of this loop."""
    _wake[:] = [(loop, event)]


def ring():
    for loop, event in _wake:
        if not loop.is_closed():
            loop.call_soon_threadsafe(event.set)

"""Waiting for a state, with a bound: never for a time."""

import time

# How long anything that a test waits for may take on a busy machine, in seconds.
PATIENCE = 60
PAUSE = 0.02


def eventually(what, look, within=PATIENCE):
    """Looks until `look` returns something true, and returns it. Fails with what was seen last; an AssertionError of the
    look is something seen, too."""
    deadline = time.monotonic() + within
    while True:
        try:
            seen = look()
            if seen:
                return seen
        except AssertionError as error:
            seen = error
        assert time.monotonic() < deadline, f"{what}: not within {within} s; last seen: {seen}"
        time.sleep(PAUSE)

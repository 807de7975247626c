"""Waiting for a page: Playwright's own wait needs ``eval``, which the pages' policies forbid."""

import time

#: Seconds between looks, and until a wait ends with an error.
_LOOK_S, _MOST_S = 0.05, 60.0


def until(page, condition, arg=None):
    """Return when the JavaScript ``condition`` holds in ``page``."""
    end = time.monotonic() + _MOST_S
    while not page.evaluate(condition, arg):
        if time.monotonic() > end:
            raise TimeoutError(f"after {_MOST_S:.0f} s still not: {condition}")
        page.wait_for_timeout(1000 * _LOOK_S)

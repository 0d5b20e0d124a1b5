"""How fast an evaluation goes."""

import time


class Pace:
    """Says at every call how fast pictures have gone since the first call, and how long the rest will take."""

    def __init__(self) -> None:
        self._start: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> str:
        now = time.monotonic()
        if self._start is None:
            self._start = now, done
        began, before = self._start
        if done == before:
            return ""
        each = (now - began) / (done - before)
        speed = f"{1 / each:.1f} a second" if each < 1 else f"{each:.1f} s each"
        return f"{speed}, {duration(each * (total - done))} left"


def duration(seconds: float) -> str:
    """As a person says it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"

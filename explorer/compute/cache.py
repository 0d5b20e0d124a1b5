"""A bounded cache that forgets what was used longest ago."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRU(Generic[K, V]):
    """Entries up to a capacity. Not for use by several threads without a lock.

    Args:
        weigh: how much of the capacity an entry takes; by itself an entry may weigh more.
        held: which entries stay, even beyond the capacity.
    """

    def __init__(
        self,
        capacity: int,
        weigh: Callable[[V], int] = lambda _: 1,
        held: Callable[[V], bool] = lambda _: False,
    ) -> None:
        self._capacity, self._weigh, self._held = capacity, weigh, held
        self._entries: OrderedDict[K, V] = OrderedDict()

    def get(self, key: K) -> V | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: K, value: V) -> V:
        self._entries[key] = value
        self._entries.move_to_end(key)
        excess = sum(map(self._weigh, self._entries.values())) - self._capacity
        for other, entry in list(self._entries.items())[:-1]:
            if excess <= 0:
                break
            if not self._held(entry):
                excess -= self._weigh(entry)
                del self._entries[other]
        return value

    def drop(self, key: K) -> None:
        self._entries.pop(key, None)

    def __iter__(self) -> Iterator[V]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

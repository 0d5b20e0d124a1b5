"""A bounded cache that forgets what was used longest ago, and what results weigh in it."""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from dataclasses import fields, is_dataclass
from typing import Any, Generic, TypeVar

from torch import Tensor

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class LRU(Generic[K, V]):
    """Entries up to a capacity. Not for use by several threads without a lock.

    Args:
        weigh: how much of the capacity an entry takes, asked once; by itself an entry may weigh more.
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
        self._weights: dict[K, int] = {}
        self._total = 0

    def get(self, key: K) -> V | None:
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: K, value: V) -> V:
        self.drop(key)
        self._entries[key], self._weights[key] = value, self._weigh(value)
        self._total += self._weights[key]
        if self._total > self._capacity:
            for other, entry in list(self._entries.items())[:-1]:
                if self._total > self._capacity and not self._held(entry):
                    self.drop(other)
        return value

    def drop(self, key: K) -> None:
        if key in self._entries:
            del self._entries[key]
            self._total -= self._weights.pop(key)

    def __iter__(self) -> Iterator[V]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


def nbytes(result: Any) -> int:
    """What the tensors, arrays and files take that a result is made of."""
    if isinstance(result, bytes):
        return len(result)
    if isinstance(result, Tensor):
        return result.untyped_storage().nbytes()
    if isinstance(own := getattr(result, "nbytes", None), int):
        return own
    if isinstance(result, dict):
        return sum(map(nbytes, result.values()))
    if isinstance(result, tuple | list):
        return sum(map(nbytes, result))
    if is_dataclass(result):
        return sum(nbytes(getattr(result, item.name)) for item in fields(result))
    return 0

"""Which records of a library serve as references for a class."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from explorer.library.store import Library

Rule = Literal["random", "lowest"]
RULES: dict[Rule, str] = {
    "random": "Confident pictures of other classes with at most 0.01 % for the target, in seeded random order",
    "lowest": "Pictures of other classes, the lowest target probability first",
}
_WANTED = 30
_CONFIDENT = 0.8
_UNLIKELY = 1e-4


@dataclass(frozen=True, eq=False)
class Selection:
    """Records in the order in which they are used; a smaller library is a prefix.

    Args:
        indices: (n,) into the library.
        qualified: how many meet the conditions of the random rule.
        fallback: the random rule was asked for but fewer than 30 qualify, so the lowest stand in.
    """

    indices: Tensor
    qualified: int
    fallback: bool


def select(
    library: Library, target: int, *, rule: Rule = "random", seed: int = 0, exclude: str | None = None
) -> Selection:
    """Orders the records of other classes for use as references of a class.

    The random rule is that of the predecessor of Libra-CAM (recognised rightly, with a probability of at
    least 0.8, and at most 1e-4 for the target), drawn without replacement; what does not qualify follows, the
    lowest target probability first. The lowest rule is that of its successor Contrast-CAT (UAI 2025).

    Args:
        exclude: digest of the explained picture, which is never its own reference.
    """
    other = library.labels != target
    if exclude is not None:
        other &= torch.tensor([digest != exclude for digest in library.digests])
    chances = library.probabilities[:, target]
    confidence, predicted = library.probabilities.max(1)
    qualifies = other & (predicted == library.labels) & (confidence >= _CONFIDENT) & (chances <= _UNLIKELY)
    qualified = int(qualifies.sum())
    ascending = chances.argsort(stable=True)
    lowest = ascending[other[ascending]]
    fallback = rule == "random" and qualified < _WANTED
    if rule == "lowest" or fallback:
        return Selection(lowest, qualified, fallback)
    drawn = qualifies.nonzero()[:, 0]
    drawn = drawn[torch.randperm(len(drawn), generator=torch.Generator().manual_seed(seed))]
    return Selection(torch.cat([drawn, lowest[~qualifies[lowest]]]), qualified, False)

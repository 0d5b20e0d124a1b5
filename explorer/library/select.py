"""Which records of a library serve as references for a class, and in which order."""

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
from torch import Tensor

from explorer.backbones import Preprocessing
from explorer.library.cluster import clusters, products
from explorer.library.shard import marks, thumbnails
from explorer.library.store import Library

Rule = Literal["random", "lowest", "confident", "stratified", "nearest", "farthest", "medoids"]
RULES: dict[Rule, str] = {
    "random": "Confident pictures of other classes that the target is unlikely on, in seeded random order",
    "lowest": "Pictures of other classes that are recognised rightly, the lowest target probability first",
    "confident": "Confident pictures of other classes that are recognised rightly, the most confident first",
    "stratified": "As random, but one picture of each class in turn",
    "nearest": "Pictures of other classes, the most alike to the network first",
    "farthest": "Pictures of other classes, the least alike to the network first",
    "medoids": "As random, but the one nearest to the middle of each of 30 clusters of the library first",
}
CONFIDENT = 0.8
_WANTED = 30
UNLIKELY = 1e-4
_SAME = 20  # of the 256 bits of two marks, at most so many of which differ between near duplicates
_BITS = torch.tensor([bin(byte).count("1") for byte in range(256)], dtype=torch.uint8)


@dataclass(frozen=True, eq=False)
class Subject:
    """What the selection must know of the explained picture.

    Args:
        digest: sha256 (hex) of its file.
        mark: (32,) uint8, see ``marks``.
        means: (K,), the mean of each channel of its activation over space.
    """

    digest: str
    mark: Tensor
    means: Tensor

    @classmethod
    def seen(cls, digest: str, image: Tensor, activation: Tensor, preprocessing: Preprocessing) -> "Subject":
        """The picture that the network sees as ``image`` (3, H, W), which gives ``activation`` (K, h, w)."""
        return cls(digest, marks(thumbnails(image[None], preprocessing))[0], activation.mean((1, 2)).cpu())


@dataclass(frozen=True, eq=False)
class Selection:
    """Records in the order in which they are used; a smaller library is a prefix.

    Args:
        indices: (n,) into the library.
        qualified: how many meet the conditions of the random rule.
        fallback: a rule was asked for that draws from those, but fewer than 30 qualify, so those of the lowest target
            probability stand in, recognised rightly or not.
    """

    indices: Tensor
    qualified: int
    fallback: bool


def select(
    library: Library,
    target: int,
    *,
    rule: Rule = "random",
    seed: int = 0,
    limit: float = UNLIKELY,
    subject: Subject | None = None,
) -> Selection:
    """Orders the records of other classes for use as references of a class.

    The conditions of the random rule are those of the predecessor of Libra-CAM (recognised rightly, with a
    probability of at least 0.8, and at most ``limit`` for the target), from which it draws without replacement, as the
    stratified and the medoids rule do in their way. The lowest rule is that of the successor Contrast-CAT (UAI 2025):
    those that are recognised rightly, by the target probability. What a rule does not take follows, the lowest target
    probability first. A record without a label of its own counts as recognised rightly. Likeness is the cosine of the
    mean activations.

    Args:
        seed: of the random, stratified and medoids rules.
        limit: of the target probability, in those rules.
        subject: the explained picture, which is never its own reference, nor are near duplicates of it. Without
            one nearest and farthest are in the order of the library.
    """
    other = library.labels != target
    if subject is not None:
        other &= torch.tensor([digest != subject.digest for digest in library.digests], dtype=torch.bool)
        if library.marks is not None:
            other &= _BITS[(library.marks ^ subject.mark).long()].sum(1) > _SAME
    chances = library.chances(target)
    right = other & (library.predicted == library.labels)
    confident = right & (library.confidence >= CONFIDENT)
    qualifies = confident & (chances <= limit)
    qualified = int(qualifies.sum())
    lowest = _ordered(other, chances)
    draws = rule in ("random", "stratified", "medoids")
    fallback = draws and qualified < _WANTED
    if fallback:
        return Selection(lowest, qualified, fallback)
    if rule in ("nearest", "farthest"):
        alike = torch.zeros(len(library))
        if subject is not None:  # times the length of the subject, which orders nothing
            alike = products(library, subject.means.float()[None])[:, 0]
        return Selection(_ordered(other, -alike if rule == "nearest" else alike), qualified, False)
    generator = torch.Generator().manual_seed(seed)
    if rule == "lowest":
        first = lowest[right[lowest]]
    elif rule == "confident":
        first = _ordered(confident, -library.confidence)
    elif rule == "medoids":
        first = _by_cluster(qualifies, *_clusters(library, seed))
    else:
        drawn = qualifies.nonzero()[:, 0]
        first = drawn[torch.randperm(len(drawn), generator=generator)]
        if rule == "stratified":
            first = first[torch.tensor(turns(library.labels[first].tolist())).argsort(stable=True)]
    rest = torch.ones(len(library), dtype=torch.bool)
    rest[first] = False
    return Selection(torch.cat([first, lowest[rest[lowest]]]), qualified, False)


def _ordered(chosen: Tensor, key: Tensor) -> Tensor:
    """The chosen records (n,) bool by ascending key (n,)."""
    ascending = key.argsort(stable=True)
    return ascending[chosen[ascending]]


def _by_cluster(chosen: Tensor, labels: Tensor, distances: Tensor) -> Tensor:
    """The chosen records (n,) bool: of each cluster the one nearest to the middle, then of each the second, ...; those
    of the largest cluster first. Clusters are given by the ``labels`` (n,) of the records, and their ``distances``
    (n,) from the middle."""
    inward = _ordered(chosen, distances)
    own = labels[inward]
    turn = torch.tensor(turns(own.tolist()))
    sizes = labels.bincount()[own]
    return inward[(turn * (len(labels) + 1) - sizes).argsort(stable=True)]


def turns(keys: Iterable[Hashable]) -> list[int]:
    """How many equal ones stand before each."""
    seen: Counter[Hashable] = Counter()
    found = []
    for key in keys:
        found.append(seen[key])
        seen[key] += 1
    return found


@lru_cache(maxsize=8)
def _clusters(library: Library, seed: int) -> tuple[Tensor, Tensor]:
    """As ``clusters``, made once for the selections of all classes."""
    return clusters(library, min(_WANTED, len(library)), seed)

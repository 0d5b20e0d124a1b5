"""Records by how alike they are to the network: to a picture, or to each other."""

import torch
import torch.nn.functional as F
from torch import Tensor

from explorer.library.store import Library, blocks

_TRIALS = 5
_ROUNDS = 20


def products(library: Library, points: Tensor) -> Tensor:
    """(n, m) in the precision of the points: the cosine of each record's mean activation and of each of the points
    (m, K), times the length of the point."""
    found = torch.cat([block.to(points) @ points.T for block in blocks(library.means)])
    return found / library.lengths[:, None].to(points)


def clusters(library: Library, count: int, seed: int) -> tuple[Tensor, Tensor]:
    """The cluster (n,) int64 of each record, and its squared distance (n,) float64 from the middle of that.

    At most 20 rounds of k-means (Lloyd 1982) over the directions of the mean activations. It begins at records that
    are drawn by k-means++ (Arthur and Vassilvitskii 2007), each time the one of five that leaves the least distance.
    All in double precision, and the distances to nine decimals, so that the rounding of another machine makes no other
    clusters, nor puts the second before the first of two that are equally near, as any two alone in a cluster are.

    Args:
        count: of the clusters, some of which are empty where fewer records differ.
    """
    generator = torch.Generator().manual_seed(seed)

    def distances(middles: Tensor) -> Tensor:
        return (1 - 2 * products(library, middles) + middles.square().sum(1)).clamp(min=0)

    def directions(rows: Tensor) -> Tensor:
        return library.means[rows].double() / library.lengths[rows, None]

    middles = directions(torch.randint(len(library), (1,), generator=generator))
    left = distances(middles)
    for _ in range(1, count):
        draws = torch.rand(_TRIALS, dtype=torch.float64, generator=generator) * left.sum()
        drawn = torch.searchsorted(left[:, 0].cumsum(0), draws).clamp(max=len(library) - 1)
        remaining = torch.minimum(left, distances(directions(drawn)))
        best = remaining.sum(0).argmin()
        left, middles = remaining[:, best, None], torch.cat([middles, directions(drawn[best, None])])

    nearest, labels = distances(middles).min(1)
    for _ in range(_ROUNDS):
        members = F.one_hot(labels, count).double()
        sums = torch.zeros_like(middles)
        for block, shares in zip(
            blocks(library.means), blocks(members / library.lengths[:, None]), strict=True
        ):
            sums.addmm_(shares.T, block.double())
        middles = torch.where(members.any(0)[:, None], sums / members.sum(0)[:, None], middles)
        former, (nearest, labels) = labels, distances(middles).min(1)
        if torch.equal(labels, former):
            break
    return labels, nearest.round(decimals=9)

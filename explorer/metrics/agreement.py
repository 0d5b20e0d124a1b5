"""How far maps agree: in their values, in the order of their pixels, and in the pixels that they keep."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from explorer.metrics.examined import Box


def on_one_grid(maps: Sequence[Tensor], boxes: Sequence[Box]) -> tuple[list[Tensor], Box]:
    """Maps of one photograph on one grid over the part of it that all of them cover, and that part.

    Maps of one part and size stay as they are; others are taken bilinearly at a grid as fine as the finest of them.

    Args:
        maps: (H, W) each, float32.
        boxes: what each map covers, as fractions of the photograph (left, top, right, bottom); the parts overlap.
    """
    if len(set(boxes)) == len({one.shape for one in maps}) == 1:
        return list(maps), boxes[0]
    left, top, right, bottom = zip(*boxes, strict=True)
    shared = (max(left), max(top), min(right), min(bottom))

    def lines(axis: int) -> list[Tensor]:
        """For each map where the grid's lines lie in it, from -1 to 1; ``axis`` is 0 across and 1 down."""
        start, length = shared[axis], shared[axis + 2] - shared[axis]
        spans = [(box[axis], box[axis + 2] - box[axis]) for box in boxes]
        sides = [one.shape[1 - axis] for one in maps]
        count = max(round(side * length / span) for side, (_, span) in zip(sides, spans, strict=True))
        centres = start + length * (torch.arange(count) + 0.5) / count
        return [2 * (centres - low) / span - 1 for low, span in spans]

    grids = [torch.meshgrid(*pair, indexing="xy") for pair in zip(lines(0), lines(1), strict=True)]
    taken = [
        grid_sample(one[None, None], torch.stack(grid, -1)[None], padding_mode="border", align_corners=False)
        for one, grid in zip(maps, grids, strict=True)
    ]
    return [one[0, 0] for one in taken], shared


def standard_ranks(saliency: Tensor) -> NDArray[np.float64]:
    """(H * W,), the ranks of a map's values, equal values sharing one, with mean 0 and norm 1; zeros for a constant
    map."""
    from scipy.stats import rankdata  # late: its threads would keep freed memory apart

    ranks = rankdata(saliency.flatten().cpu().numpy())
    ranks -= ranks.mean()
    norm = np.linalg.norm(ranks)
    return ranks / norm if norm else ranks


def correlations(ranks: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """(n, n), Spearman's correlation of each two of n maps, of which ``standard_ranks`` are given."""
    rows = np.stack(ranks)
    return np.clip(rows @ rows.T, -1, 1)


def rank_correlation(one: Tensor, other: Tensor) -> float:
    """Spearman's correlation of two maps (H, W); 0 where one of them is constant."""
    return float(np.clip(standard_ranks(one) @ standard_ranks(other), -1, 1))


def correlation(one: Tensor, other: Tensor) -> float | None:
    """Pearson's correlation of two maps (H, W); None where one of them is constant or not finite."""
    both = torch.stack([one.flatten(), other.flatten()]).double()
    both -= both.mean(1, keepdim=True)
    deviations = both.norm(dim=1)
    if not deviations.all() or not both.isfinite().all():
        return None
    return float((both[0] @ both[1] / deviations.prod()).clamp(-1, 1))


def overlaps(kept: Sequence[NDArray[np.bool_]]) -> NDArray[np.float64]:
    """(n, n), intersection over union of each two of n sets of pixels (H, W); 1 for two empty ones."""
    rows = np.stack([mask.ravel() for mask in kept]).astype(np.float64)
    shared = rows @ rows.T
    sizes = shared.diagonal()
    united = sizes[:, None] + sizes - shared
    return np.divide(shared, united, out=np.ones_like(shared), where=united > 0)

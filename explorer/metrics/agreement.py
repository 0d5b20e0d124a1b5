"""How far maps agree: in the order of their pixels, and in the pixels that they keep."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


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

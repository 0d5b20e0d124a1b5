"""ROAD: pixels removed by imputing them from their neighbours, so that no hole gives the answer away."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from explorer.declaration import Paper, option
from explorer.metrics.base import Metric, register
from explorer.metrics.examined import Examined
from explorer.metrics.perturbation import Ordered, Perturbation

_NEIGHBOURS = [
    (down, across, 1 / 12 if down and across else 1 / 6)
    for down in (-1, 0, 1)
    for across in (-1, 0, 1)
    if down or across
]
_NOISE = 0.01


@dataclass(frozen=True)
class Imputed(Perturbation):
    """The picture with its ``count`` most or least salient pixels imputed; see ``impute``."""

    count: int
    most: bool
    seed: int
    tied: int = 0

    def of_cut_map(self, percent: int, pixels: int) -> Self:
        removed = pixels * percent // 100
        ordered = self.count <= pixels - removed if self.most else self.count >= removed
        return self if ordered else replace(self, tied=percent)

    @classmethod
    def pictures(cls, asked: Sequence[Self], shown: Ordered) -> Tensor:
        image = shown.canvas.image
        pixels = shown.saliency.numel()
        found = []
        for one in asked:
            rank = shown.rank(one.tied)
            gone = rank >= pixels - one.count if one.most else rank < one.count
            filled = impute(image.double().cpu().numpy(), gone.cpu().numpy())
            noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(one.seed))
            noisy = torch.from_numpy(filled).to(image) + _NOISE * noise.to(image)
            found.append(torch.where(gone, noisy, image))
        return torch.stack(found)


def impute(image: NDArray[np.float64], gone: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The picture (3, H, W) in which each pixel that is ``gone`` (H, W) is the weighted mean of its neighbours.

    Neighbours at a side weigh 1/6, at a corner 1/12, those beyond the rim nothing; one sparse linear system (Rong et
    al., section 4).
    """
    from scipy.sparse import coo_array  # late: its threads would keep freed memory apart
    from scipy.sparse.linalg import splu

    height, width = gone.shape
    flat = image.reshape(3, -1)
    places = np.flatnonzero(gone)
    if not len(places):
        return image.copy()
    if len(places) == gone.size:  # nothing is known: every constant picture is a solution
        return np.broadcast_to(flat.mean(1)[:, None, None], image.shape).copy()
    variable = np.full(gone.size, -1)
    variable[places] = np.arange(len(places))
    y, x = np.divmod(places, width)
    known = np.zeros((len(places), 3))
    weights = np.zeros(len(places))
    entries: list[tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]] = []
    for down, across, weight in _NEIGHBOURS:
        inside = np.flatnonzero(
            (y + down >= 0) & (y + down < height) & (x + across >= 0) & (x + across < width)
        )
        neighbour = places[inside] + down * width + across
        weights[inside] += weight
        open_too = gone.flat[neighbour]
        rows, columns = inside[open_too], variable[neighbour[open_too]]
        entries.append((rows, columns, np.full(len(rows), -weight)))
        known[inside[~open_too]] += weight * flat[:, neighbour[~open_too]].T
    diagonal = np.arange(len(places))
    entries.append((diagonal, diagonal, weights))
    rows, columns, values = (np.concatenate(parts) for parts in zip(*entries, strict=True))
    system = coo_array((values, (rows, columns)), shape=(len(places), len(places))).tocsc()
    solved = splu(system, permc_spec="MMD_AT_PLUS_A", options={"SymmetricMode": True}).solve(known)
    filled = flat.copy()
    filled[:, places] = solved.T
    return filled.reshape(image.shape)


@register
@dataclass(frozen=True)
class ROAD(Metric):
    name = "road"
    title = "ROAD"
    symbol = "ROAD"
    paper = Paper(
        "A Consistent and Efficient Evaluation Strategy for Attribution Methods",
        "Rong, Leemann, Borisov, Kasneci, Kasneci",
        "ICML",
        2022,
        "https://arxiv.org/abs/2202.00449",
    )
    kind = "perturbation"
    better = "higher"
    low, high = -0.5, 0.5
    cost = "10 passes, and about a second of linear algebra"
    good = "Removed pixels are imputed from their neighbours, so that no hole gives the mask away."
    bad = "Only the order counts; a smooth object can be imputed from its rim."
    removed = "the weighted mean of its neighbours, with a little noise"

    seed: int = option(0, "Of the noise on imputed pixels.", label="seed", source="here", low=0, high=9999)

    def perturbations(self, pixels: int) -> tuple[Imputed, ...]:
        counts = [pixels * percent // 100 for percent in (10, 30, 50, 70, 90)]
        return tuple(Imputed(count, most, self.seed) for most in (False, True) for count in counts)

    def value(self, shown: Examined, scores: Tensor) -> float:
        """Mean over 10, 30, 50, 70 and 90% removed of (probability with the least salient pixels removed -
        probability with the most salient ones removed) / 2: the paper's two orders combined as by pytorch-grad-cam"""
        least, most = scores.chunk(2)
        return float((least - most).mean()) / 2

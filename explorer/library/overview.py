"""A library seen from above: what it offers, and its records on the plane along which they differ most."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from explorer.library.select import CONFIDENT
from explorer.library.store import Library

_MOST = 600


@dataclass(frozen=True, eq=False)
class Plane:
    """Records projected on the first two principal components of their mean activations.

    Args:
        indices: (n,) into the library, all of them or a seeded choice of 600.
        places: (n, 2) float32.
        shares: of the variance that each of the two components explains, in [0, 1].
    """

    indices: Tensor
    places: Tensor
    shares: tuple[float, float]


def plane(library: Library) -> Plane:
    """The records of a library on a plane, their mean activations scaled to length 1."""
    from sklearn.decomposition import PCA  # takes a second, and threads of its own

    chosen = torch.randperm(len(library), generator=torch.Generator().manual_seed(0))[:_MOST].sort().values
    points = torch.nn.functional.normalize(library.means[chosen].float(), dim=1)
    components = min(2, *points.shape)
    found = PCA(components, svd_solver="full").fit(points.double().numpy())
    places = torch.zeros(len(chosen), 2)
    places[:, :components] = torch.from_numpy(found.transform(points.double().numpy())).float()
    shares = [*np.nan_to_num(found.explained_variance_ratio_).tolist(), 0.0][:2]
    return Plane(chosen, places, (shares[0], shares[1]))


@dataclass(frozen=True)
class Tally:
    """What a library offers as references.

    Args:
        right: how many records are recognised as the class that they are given as.
        confident: how many of those with a probability of at least 0.8.
        confidence: the median probability of the predicted classes.
        classes: how many classes there are.
    """

    records: int
    classes: int
    right: int
    confident: int
    confidence: float


def tally(library: Library) -> Tally:
    """Counts the records of a library."""
    right = library.predicted == library.labels
    return Tally(
        len(library),
        len(library.labels.unique()),
        int(right.sum()),
        int((right & (library.confidence >= CONFIDENT)).sum()),
        float(library.confidence.median()),
    )


def common(one: Library, other: Library) -> int:
    """How many pictures two libraries share."""
    return len({*one.digests} & {*other.digests})

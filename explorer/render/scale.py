"""What the colours of maps stand for where all maps of a method share one scale."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from explorer.compute import Explanation

Ends = tuple[float, float]


def shared_ends(explanations: Iterable[Explanation]) -> dict[str, Ends]:
    """For each method with its options, as text, the values that its lowest and its highest colour stand for.

    They are in the method's own units: from zero, or the lowest value if that is less, to the highest value of all its
    maps. Maps without units have none.
    """
    found: dict[str, Ends] = {}
    for explanation in explanations:
        if (extent := explanation.attribution.extent) is not None:
            low, high = extent.tolist()
            method = str(explanation.request.method)
            bottom, top = found.get(method, (0.0, -math.inf))
            found[method] = (min(bottom, low), max(top, high))
    return found


def scaled(explanation: Explanation, ends: Ends | None) -> NDArray[np.float32]:
    """The map (H, W) in [0, 1], from end to end of a scale; as it is without one, or without units."""
    saliency, extent = explanation.attribution.saliency.numpy(), explanation.attribution.extent
    if ends is None or extent is None:
        return saliency
    (low, high), (bottom, top) = extent.tolist(), ends
    return (low - bottom + (high - low) * saliency) / (top - bottom)

"""What the colours of maps stand for where all maps of a method share one scale."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from explorer.compute import Explanation

Ends = tuple[float, float]


def shared_ends(explanations: Iterable[Explanation], *, signed: bool = False) -> dict[str, Ends]:
    """For each method with its options, as text, the values that its lowest and its highest colour stand for.

    They are in the method's own units: from zero, or the lowest value if that is less, to the highest value of all its
    maps. Maps without units have none. Of signed maps they are as far from zero on both sides.
    """
    found: dict[str, Ends] = {}
    for explanation in explanations:
        extent = signed_ends(explanation) if signed else explanation.attribution.extent
        if extent is not None:
            low, high = map(float, extent)
            method = str(explanation.request.method)
            bottom, top = found.get(method, (0.0, -math.inf))
            found[method] = (min(bottom, low), max(top, high))
    return found


def signed_ends(explanation: Explanation) -> Ends | None:
    """The largest magnitude of a signed map, on both sides of zero; None where it is no number."""
    reach = float(explanation.attribution.signed.abs().max())
    return (-reach, reach) if math.isfinite(reach) else None


def scaled(explanation: Explanation, ends: Ends | None) -> NDArray[np.float32]:
    """The map (H, W) in [0, 1], from end to end of a scale; as it is without one, or without units."""
    saliency, extent = explanation.attribution.saliency.numpy(), explanation.attribution.extent
    if ends is None or extent is None:
        return saliency
    (low, high), (bottom, top) = extent.tolist(), ends
    return (low - bottom + (high - low) * saliency) / (top - bottom)

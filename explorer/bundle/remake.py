"""The maps of a bundle made again and compared bit by bit."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from explorer.bundle.contents import BundleError
from explorer.bundle.kept import Bundle, Kept
from explorer.compute import Engine, Explanation
from explorer.errors import ExplorerError
from explorer.images import Picture
from explorer.render.arrays import npy
from explorer.render.manifest import machine, versions


@dataclass(frozen=True)
class Made:
    """A map made again.

    Args:
        explanation: None where it could not be made.
        equal: whether it is bit-equal to the one in the bundle, and that is the one that was written.
        verdict: in words.
    """

    kept: Kept
    explanation: Explanation | None
    equal: bool
    verdict: str


def differences(bundle: Bundle) -> list[str]:
    """What here is not as where the bundle was made and may change bits, a sentence each."""
    here, found = versions(), []
    others = [
        f"{name} {here.get(name, 'is missing')} instead of {version}"
        for name, version in bundle.versions.items()
        if here.get(name) != version
    ]
    if others:
        found.append(f"Other versions here: {', '.join(others)}.")
    device = machine()["device"]
    if device != bundle.device:
        found.append(f"The maps were made on {bundle.device}, here it is {device}.")
    if not _possible(bundle.threads):
        found.append(f"The maps were made with {bundle.threads} threads, more than this machine runs.")
    return found


def remake(bundle: Bundle, given: Sequence[Picture] = (), engine: Engine | None = None) -> Iterator[Made]:
    """Makes every map of a bundle again, with as many threads, since their number decides the order of sums.

    Args:
        given: pictures that the bundle may lack.
    """
    engine = engine or Engine()
    if _possible(bundle.threads):
        torch.set_num_threads(bundle.threads)
    picture: Picture | None = None
    for kept in bundle:
        try:
            if picture is None or picture.digest != kept.digest:
                picture = bundle.picture(kept, given)
            explanation = engine.explain(picture, kept.request)
        except ExplorerError as refusal:
            yield Made(kept, None, False, f"cannot be made again: {refusal}")
            continue
        explanation = replace(explanation, name=kept.name)
        yield Made(kept, explanation, *_compared(bundle, kept, explanation))


def _compared(bundle: Bundle, kept: Kept, explanation: Explanation) -> tuple[bool, str]:
    saliency = explanation.attribution.saliency.numpy()
    made = npy(saliency)
    try:
        written = bundle.contents.read(kept.map_file)
    except BundleError as refusal:
        return False, str(refusal)
    if hashlib.sha256(written).hexdigest() != kept.map_digest:
        equal = hashlib.sha256(made).hexdigest() == kept.map_digest
        return False, (
            "the file in the bundle was changed after it was written; what was written is "
            + ("made again bit-equal" if equal else "not made again bit-equal")
        )
    reasons = "; ".join(_reasons(kept, explanation))
    if made == written:
        return True, "bit-equal" + (f", although {reasons}" if reasons else "")
    return False, _distance(saliency, made, written) + (f": {reasons}" if reasons else "")


def _reasons(kept: Kept, explanation: Explanation) -> Iterator[str]:
    if explanation.weights != kept.weights:
        yield f"the weights of {kept.request.backbone} here are others"
    if kept.fingerprint is not None and explanation.references is not None:
        here = explanation.references.library.info.fingerprint
        if here != kept.fingerprint:
            yield f"the library {kept.request.library!r} here has another fingerprint, so other references"


def _distance(saliency: NDArray[np.float32], made: bytes, written: bytes) -> str:
    """How far what was written is from a map; a header that is not that of the map's own file is not parsed."""
    header = len(made) - saliency.nbytes
    if len(made) != len(written) or made[:header] != written[:header]:
        return "differs in shape"
    other = np.frombuffer(written, np.float32, offset=header).reshape(saliency.shape)
    return f"differs by {np.abs(saliency - other).max():.2g} at most"


def _possible(threads: int) -> bool:
    return 1 <= threads <= (os.cpu_count() or 1)

"""What a set of explanations was made of, so that it can be judged and made again."""

import importlib.metadata
import json
import math
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import torch

from explorer.compute import Explanation, Figures, best_device
from explorer.metrics import Metric

SCHEMA_VERSION = 1
_PACKAGES = ("torch", "torchvision", "timm", "numpy", "pillow")


def manifest(
    explanations: Iterable[Explanation],
    paths: Mapping[int, Mapping[str, str]] | None = None,
    measured: Mapping[int, tuple[Figures, Sequence[Metric]]] | None = None,
    digests: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Everything about the explanations but the maps, ready for JSON.

    Args:
        paths: for the position of an explanation, its files by kind.
        measured: for the position of an explanation, its figures and the metrics that they are of.
        digests: sha256 of all files beside the manifest, by their paths.
    """
    measured = measured or {}
    return {
        "schema_version": SCHEMA_VERSION,
        "versions": versions(),
        "machine": machine(),
        "explanations": [
            {
                **entry(explanation),
                **({"figures": figures_entry(*measured[position])} if position in measured else {}),
                **({"files": dict(paths[position])} if paths else {}),
            }
            for position, explanation in enumerate(explanations)
        ],
        **({"files": dict(digests)} if digests is not None else {}),
    }


def versions() -> dict[str, str]:
    """Of the packages that decide maps."""
    return {name: importlib.metadata.version(name) for name in _PACKAGES}


def machine() -> dict[str, Any]:
    """What else decides the last bits of a map: the number of threads does so by the order of sums."""
    return {
        "device": f"{best_device().type} ({platform.machine()})",
        "threads": torch.get_num_threads(),
    }


def figures_entry(figures: Figures, metrics: Sequence[Metric]) -> dict[str, Any]:
    """What metrics, with their options, say of one map, ready for JSON; None where a metric is not defined."""

    def known(values: Mapping[str, float]) -> dict[str, float | None]:
        return {name: value if math.isfinite(value) else None for name, value in values.items()}

    return {
        "metrics": {str(metric): asdict(metric) for metric in metrics},
        "plain": known(figures.plain),
        "calibrated": {"cut_percent": figures.calibration.cut, **known(figures.calibrated)},
    }


def as_json(document: Any) -> str:
    """The document as strict JSON text."""
    return json.dumps(document, indent=1, allow_nan=False)


def entry(explanation: Explanation) -> dict[str, Any]:
    """One explanation, ready for JSON."""
    request, calibration, references = explanation.request, explanation.calibration, explanation.references
    extent = explanation.attribution.extent
    return {
        "picture": {"name": explanation.name, "sha256": explanation.digest},
        "backbone": {
            "name": request.backbone,
            "weights_sha256": explanation.weights,
            "layer": explanation.layer.name,
            "layer_shape": [explanation.layer.channels, explanation.layer.height, explanation.layer.width],
        },
        "crop": list(explanation.box),
        "method": {"name": request.method.name, "options": asdict(request.method)},
        "precision": request.precision,
        "levels_percent": list(request.levels),
        "class": {
            "index": explanation.target,
            "name": explanation.label,
            "probability": explanation.probability,
        },
        "blank": explanation.attribution.blank,
        "extent": extent if extent is None else extent.tolist(),
        "notes": list(explanation.attribution.notes),
        "library": references
        and {
            "name": references.library.info.name,
            "fingerprint": references.library.info.fingerprint,
            "source": references.library.info.source,
            "rule": request.rule,
            "seed": request.seed,
            "limit": request.limit,
            "fallback": references.fallback,
            "pinned": list(request.pinned),
            "excluded": list(request.excluded),
            "references": [
                {
                    "id": references.library.ids[index],
                    "gain": gain if math.isfinite(gain) else None,
                    "kept": kept,
                }
                for index, gain, kept in zip(
                    references.indices.tolist(),
                    references.gains.tolist(),
                    references.kept.tolist(),
                    strict=True,
                )
            ],
        },
        "calibration": calibration
        and {
            "removed_percent": list(calibration.removed),
            "probabilities": list(calibration.probabilities),
            "cut_percent": calibration.cut,
        },
        "forward_passes": explanation.passes,
        "seconds": round(explanation.seconds, 4),
    }

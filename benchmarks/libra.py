"""Libra-CAM against Grad-CAM on real validation images: API, APD, IR and DR, plain and calibrated.

    python benchmarks/libra.py --references DIR --references-labels CSV --images DIR [--count 100]

The metrics are those of Libra-CAM's main table (see ``explorer.calibration``): with d the change of the target's
probability on the masked picture, API is the mean of max(d, 0), APD that of max(-d, 0), IR and DR the shares of
strictly positive and strictly negative d. The class is the predicted one.
"""

import argparse
import os
import tempfile
from pathlib import Path

import numpy as np

from explorer import Engine, Request, images
from explorer.library import build, from_folder
from explorer.methods import find


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--references", type=Path, required=True)
    parser.add_argument("--references-labels", type=Path)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--backbone", default="efficientnet_lite0")
    parser.add_argument("--library", choices=["references", "built-in"], default="references")
    arguments = parser.parse_args()
    engine = Engine()
    with tempfile.TemporaryDirectory() as home:
        os.environ["EXPLORER_HOME"] = home
        if arguments.library == "references":
            sources = from_folder(arguments.references, arguments.references_labels)
            build(engine.backbone(arguments.backbone).cut(), "references", sources, "reference photographs")
        paths = sorted(path for path in arguments.images.iterdir() if path.suffix == ".jpg")[
            : arguments.count
        ]
        changes: dict[tuple[str, str], list[float]] = {}
        for path in paths:
            picture = images.load(path)
            for name in ("grad-cam", "libra-cam"):
                request = Request(arguments.backbone, method=find(name)(), library=arguments.library)
                calibration = engine.explain(picture, request).calibration
                gains = calibration.gains if calibration else (-1.0,)
                changes.setdefault((name, "plain"), []).append(gains[0])
                changes.setdefault((name, "calibrated"), []).append(max(gains))
    print(f"{len(paths)} images, {arguments.backbone}, {arguments.library} library, predicted class")
    print(f"{'method':12} {'':12} {'API':>7} {'APD':>7} {'IR':>7} {'DR':>7}")
    for (name, kind), values in changes.items():
        d = np.array(values)
        figures = (d.clip(0).mean(), (-d).clip(0).mean(), (d > 0).mean(), (d < 0).mean())
        print(f"{name:12} {kind:12} " + " ".join(f"{figure:7.3f}" for figure in figures))


if __name__ == "__main__":
    main()

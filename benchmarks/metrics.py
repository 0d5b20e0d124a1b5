"""Speed of the metrics and of evaluations, as ratios to the bare passes that they need and to Quantus; memory.

    pip install --no-deps quantus cachetools
    PYTHONPATH=. python benchmarks/metrics.py [--pictures 300] [--device cuda]

The sides of a ratio are timed in turn (A, B, B, A ...) and compared by their medians. Quantus' PixelFlipping deletes
the same pixels in the same steps, in batches of all maps; it counts numbers, so it is given a mask of pixels and a
network that sees the picture under it. An evaluation is timed over pictures on disk, decoded by another process,
against as many masked pictures sent through the network. The same again with the network compiled (a C++ compiler is
needed). Memory is that of the process after some pictures and after all.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import quantus
import torch
from speed import forwards, medians, random_backbone
from torch import Tensor, nn

from explorer import Engine, Probe, sample
from explorer.backbones import Backbone, load
from explorer.compute import keep_freed_memory
from explorer.dataset import open_dataset
from explorer.evaluation import Configuration, evaluate
from explorer.images import SAMPLES
from explorer.methods import find as find_method
from explorer.metrics import Canvas, Deletion, Examined, Insertion, gather
from explorer.metrics import find as find_metric

METHODS = (
    *("grad-cam", "grad-cam++", "layer-cam", "lift-cam"),
    *("ablation-cam", "eigen-cam", "random", "centre-gaussian"),
)
METRICS = (
    *("average-drop", "average-gain", "average-drop-in-deletion", "coherency", "complexity", "adcc"),
    *("insertion", "deletion"),
)


def row(name: str, work: str, *figures: float) -> None:
    print(f"{name:24} {work:52} " + " ".join(f"{figure:9.3f}" for figure in figures), flush=True)


def _never(_: Probe) -> Tensor:
    """Insertion and deletion make no map again."""
    raise AssertionError


def steps(backbone: Backbone, step: int, rounds: int) -> None:
    """Insertion and deletion of eight methods' maps of one picture."""
    cut, image = backbone.cut(), backbone.preprocessing.tensor(sample("chelsea"))
    probe = Probe(cut, image)
    target = int(probe.logits.argmax())
    maps = [find_method(name)()(probe, target).saliency for name in METHODS]
    metrics = (Insertion(step=step), Deletion(step=step))
    pixels = image[0].numel()
    count = len(maps) * sum(len(metric.perturbations(pixels)) for metric in metrics)

    def ours() -> None:
        canvas = Canvas(Probe(cut, image))
        shown = [Examined(canvas, target, one, _never) for one in maps]
        gather([(one, metric.perturbations(pixels)) for one in shown for metric in metrics])

    def plain() -> None:
        forwards(backbone, image, count, backbone.batch)

    settings: dict[str, Any] = {"perturb_baseline": 0.0, "normalise": False, "disable_warnings": True}
    flipping = quantus.PixelFlipping(features_in_step=step, **settings)
    everything = np.ones((len(maps), 1, *probe.size), np.float32)
    attributions = torch.stack(maps)[:, None].numpy(force=True)

    def theirs() -> None:
        for _ in metrics:
            flipping(
                model=_Masked(backbone, probe.image).eval(),
                x_batch=everything,
                y_batch=np.full(len(maps), target),
                a_batch=attributions,
                channel_first=True,
                softmax=True,
                device=str(backbone.device),
                batch_size=len(maps),
            )

    first, second, third = medians((ours, plain, theirs), rounds)
    row(backbone.name, f"insertion + deletion / {count} forwards", first, second, first / second, 1.15)
    row(backbone.name, f"the same, steps of {step}, by Quantus / ours", third, first, third / first, 10)
    backbone.compile()
    [compiled] = medians((ours,), rounds)
    row(backbone.name, "by Quantus / ours, compiled", third, compiled, third / compiled, 10)


class _Masked(nn.Module):
    """The logits (M, C) of a picture under masks (M, 1, H, W)."""

    def __init__(self, backbone: Backbone, image: Tensor) -> None:
        super().__init__()
        self.backbone, self.image = backbone, image

    def forward(self, masks: Tensor) -> Tensor:
        return self.backbone(self.image * masks)


def photographs(folder: Path, count: int) -> None:
    """Different crops of the sample photographs."""
    generator = np.random.default_rng(0)
    names = list(SAMPLES)
    for number in range(count):
        picture = sample(names[number % len(names)])
        side = int(generator.uniform(0.5, 0.95) * min(picture.width, picture.height))
        left, top = (int(generator.uniform(0, length - side)) for length in (picture.width, picture.height))
        picture.image.crop((left, top, left + side, top + side)).save(folder / f"{number:04}.jpg")


def throughput(name: str, count: int, device: str) -> None:
    """An evaluation with eight methods against as many masked pictures sent through the network."""
    engine, passes = Engine(device), 0
    backbone = engine.backbone(name)
    image = backbone.preprocessing.tensor(sample("chelsea"))
    configuration = _configuration(name, METHODS)
    original = Probe._count

    def counted(probe: Probe, made: int) -> None:
        nonlocal passes
        passes += made
        original(probe, made)

    masks = torch.rand(backbone.batch, *image.shape[1:])
    probe = Probe(backbone.cut(), image)

    def bare() -> None:
        for start in range(0, passes, backbone.batch):
            probe.scores(masks[: passes - start], 0)

    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "photos").mkdir()
        photographs(folder / "photos", count)
        entries = open_dataset(folder / "photos", classes=backbone.labels)
        evaluate(engine, entries[:1], configuration, folder / "warm", workers=0)
        begun: list[float] = []

        def first(done: int, total: int) -> None:
            nonlocal passes
            if done == 1:  # the worker has started and the clock runs
                begun.append(time.perf_counter())
                passes = 0

        def timed(name: str) -> float:
            evaluate(engine, entries, configuration, folder / name, first, workers=1)
            return time.perf_counter() - begun[-1]

        Probe._count = counted  # type: ignore
        ours = timed("out")
        Probe._count = original  # type: ignore
        needed = passes
        [plain] = medians((bare,), 1)
        backbone.compile()
        evaluate(engine, entries[:1], configuration, folder / "warm compiled", workers=0)
        compiled = timed("compiled")
    row(name, f"{needed} bare masked forwards / evaluation", plain, ours, plain / ours, 0.9)
    row(name, "the same forwards / evaluation, compiled", plain, compiled, plain / compiled, 0.9)


def _configuration(name: str, methods: tuple[str, ...]) -> Configuration:
    return Configuration(
        name,
        None,
        tuple(find_method(one)() for one in methods),
        tuple(find_metric(one)() for one in METRICS),
    )


def memory(name: str, count: int, device: str) -> None:
    """What the process holds after a sixth of the pictures, and after all."""
    engine = Engine(device)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        (folder / "photos").mkdir()
        photographs(folder / "photos", count)
        entries = open_dataset(folder / "photos", classes=engine.backbone(name).labels)
        held: dict[int, float] = {}

        def look(done: int, total: int) -> None:
            held[done] = _megabytes()

        evaluate(engine, entries, _configuration(name, ("grad-cam", "random")), folder / "out", look)
    early, late = held[count // 6], held[count]
    row(name, f"MB after {count} pictures / after {count // 6}", late, early, late / early, 1.1)


def _megabytes() -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=300, help="of the look at memory")
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    device = arguments.device
    keep_freed_memory()
    print(f"{'network':24} {'work':52} {'first':>9} {'second':>9} {'ratio':>9} {'limit':>9}")
    for backbone in (load("efficientnet_lite0", device), random_backbone("squeezenet1_1", device=device)):
        steps(backbone, 1792, 3)
    steps(load("efficientnet_lite0", device), 224, 1)
    throughput("efficientnet_lite0", 12, device)
    memory("efficientnet_lite0", arguments.pictures, device)


if __name__ == "__main__":
    main()

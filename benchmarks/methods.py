"""Speed and memory of the methods, as ratios to plain passes and to other libraries in the same run.

    PYTHONPATH=. python benchmarks/methods.py [--rounds 5] [--channels 64]

The sides of a ratio are timed in turn (A, B, B, A ...) and compared by their medians. A plain pass is that of the
classifier as it comes; the last column is the ratio to as many single passes of the network as we run it, which are
quicker. On ResNet-50 Score-CAM runs at one more layer of so few channels, all of them asked. Other libraries run with
their own defaults, torch-cam also with our batches. Memory is the peak of a fresh process beyond what it holds before.
"""

import argparse
import io
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import redirect_stderr
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
import torchcam.methods
import torchvision
from pytorch_grad_cam import AblationCAM
from pytorch_grad_cam.utils.model_targets import ClassifierOutputTarget
from speed import forwards, medians, random_backbone, random_model
from torch import Tensor, nn

from explorer import Probe, sample
from explorer.backbones import Backbone, Cut
from explorer.methods import find
from explorer.methods.masking import ScoreCAM
from explorer.methods.optimisation import OptiCAM
from explorer.probe import Precision

ONE_GRADIENT = ("grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "finer-cam")
LAYERS = {"resnet50": "layer4", "squeezenet1_1": "features.12"}
TARGET = 1
TORCH_CAM_BATCH, OUR_BATCH = 32, 4

Work = Callable[[], object]


def report(
    name: str, work: str, limit: float, rounds: int, ours: Work, other: Work, layout: Work | None = None
) -> None:
    """Prints the seconds of ours and of another and their ratio, with the limit that it must keep; then the ratio to
    the same work in our layout."""
    first, second, *third = medians((ours, other, *([layout] if layout else [])), rounds)
    print_row(name, work, first, second, first / second, limit, *(first / found for found in third))


def print_row(name: str, work: str, *figures: float) -> None:
    print(f"{name:24} {work:42} " + " ".join(f"{figure:9.4f}" for figure in figures), flush=True)


@torch.inference_mode()
def plain(model: nn.Module, image: Tensor, count: int) -> None:
    """One plain forward pass of a classifier as it comes."""
    model(image.expand(count, -1, -1, -1).contiguous())


def picture(backbone: Backbone) -> Tensor:
    return backbone.preprocessing.tensor(sample("chelsea"))


def explain(cut: Cut, image: Tensor, names: tuple[str, ...], count: int) -> None:
    for _ in range(count):
        probe = Probe(cut, image)
        for name in names:
            find(name)()(probe, TARGET)


def one_pass(name: str, rounds: int) -> None:
    """The methods that need no further pass, of one picture and of eight, against plain forward passes."""
    backbone, model = random_backbone(name), random_model(name)
    cut, image = backbone.cut(), picture(backbone)
    for count in (1, 8):
        for names, work, limit in (
            (ONE_GRADIENT, f"{len(ONE_GRADIENT)} gradient methods", 1.2),
            (("ablation-cam",), "Ablation-CAM", 1.1),
            (("lift-cam",), "LIFT-CAM", 1.1),
        ):
            report(
                backbone.name,
                f"{work} / forward, batch {count}",
                limit,
                max(5, rounds // count),
                partial(explain, cut, image, names, count),
                partial(plain, model, image, count),
                partial(forwards, backbone, image, count, 1),
            )


def ablation(name: str) -> None:
    """Ablation-CAM and LIFT-CAM against pytorch-grad-cam's Ablation-CAM, and how far the maps differ."""
    backbone, model = random_backbone(name), random_model(name)
    cut, image = backbone.cut(LAYERS[name]), picture(backbone)
    target = int(Probe(cut, image).logits.argmax())  # below zero theirs turns every sign

    def theirs() -> np.ndarray:
        with (
            AblationCAM(model, [model.get_submodule(LAYERS[name])]) as rival,
            redirect_stderr(io.StringIO()),
        ):
            found: np.ndarray = rival(image[None], [ClassifierOutputTarget(target)])[0]
            return found

    started = time.perf_counter()
    expected = theirs()
    second = time.perf_counter() - started
    for method in ("ablation-cam", "lift-cam"):
        work = partial(explain, cut, image, (method,), 1)
        [first] = medians([work], 9)
        ours = find(method)()(Probe(cut, image), target).saliency.numpy()
        print_row(
            backbone.name, f"pytorch-grad-cam's Ablation / {method} >", first, second, second / first, 500
        )
        print(f"{'':24} largest difference of the maps: {abs(ours - expected).max():.1e}")


def opti(name: str, rounds: int, iterations: int = 10) -> None:
    """Iterations of Opti-CAM against as many forward passes with gradients to the input."""
    backbone, model = random_backbone(name), random_model(name).requires_grad_(False)
    cut, image = backbone.cut(), picture(backbone)

    def run(network: Callable[[Tensor], Tensor], layout: torch.memory_format) -> None:
        plain(model, image, 1)
        for _ in range(iterations):
            leaf = image[None].contiguous(memory_format=layout).requires_grad_()
            torch.autograd.grad(network(leaf)[0, TARGET], leaf)

    report(
        backbone.name,
        "Opti-CAM iteration / forward, backward",
        1.1,
        rounds,
        lambda: OptiCAM(iterations=iterations)(Probe(cut, image), TARGET),
        lambda: run(model, torch.contiguous_format),
        lambda: run(backbone, torch.channels_last),
    )


def narrow_resnet50(channels: int) -> nn.Module:
    """ResNet-50 with a last layer of few channels, so that Score-CAM takes few passes."""
    torch.manual_seed(0)
    found = torchvision.models.resnet50()
    found.layer4.append(nn.Sequential(nn.Conv2d(2048, channels, 1), nn.ReLU()))
    found.fc = nn.Linear(channels, 1000)
    return found.eval()


def classifier(name: str, channels: int) -> nn.Module:
    return narrow_resnet50(channels) if name == "resnet50" else random_model(name)


def our_score(name: str, channels: int, precision: Precision) -> Callable[[], Tensor]:
    backbone = random_backbone(name, classifier(name, channels))
    cut, image, method = backbone.cut(LAYERS[name]), picture(backbone), ScoreCAM(variant="channel-softmax")
    return lambda: method(Probe(cut, image, precision=precision), TARGET).saliency


def their_score(name: str, channels: int, batch: int) -> Work:
    model, image = classifier(name, channels), picture(random_backbone(name))

    def run() -> None:
        with (
            torchcam.methods.ScoreCAM(model, LAYERS[name], batch_size=batch) as extractor,
            torch.no_grad(),
        ):
            extractor(TARGET, model(image[None]))

    return run


def score(name: str, channels: int, rounds: int) -> None:
    """Score-CAM's time against torch-cam, its map in the quick precision, and its memory."""
    network = f"{name} (random)"
    ours, quick = (our_score(name, channels, precision) for precision in ("float32", "bfloat16"))
    rival, small = (their_score(name, channels, batch) for batch in (TORCH_CAM_BATCH, OUR_BATCH))
    report(network, f"Score-CAM / torch-cam, batches of {TORCH_CAM_BATCH}", 0.75, rounds, ours, rival)
    report(network, f"Score-CAM / torch-cam, batches of {OUR_BATCH}", 0.75, rounds, ours, small)
    report(network, "quick Score-CAM / torch-cam", 0.4, rounds, quick, rival)
    same = np.corrcoef(ours().flatten(), quick().flatten())[0, 1]
    print(f"{'':24} correlation of the quick map: {same:.4f} (at least 0.995)")
    mine = peak(our_score, name, channels, "float32")
    theirs = peak(their_score, name, channels, TORCH_CAM_BATCH)
    print_row(network, "Score-CAM / torch-cam, MB", mine, theirs, mine / theirs, 0.25)


def peak(prepare: Callable[..., Work], *arguments: object) -> float:
    """Megabytes that some work takes at its peak beyond what is there before, in a process of its own."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_peak, prepare, *arguments).result()


def _peak(prepare: Callable[..., Work], *arguments: object) -> float:
    work = prepare(*arguments)
    before = _status("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # Linux: the peak counts from here
    work()
    return _status("VmHWM") - before


def _status(name: str) -> float:
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name)]
    return int(line.split()[1]) / 1000


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--channels", type=int, default=64)
    arguments = parser.parse_args()
    heads = ("ours, s", "other", "ratio", "limit", "to ours")
    print(f"{'network':24} {'work':42} " + " ".join(f"{head:>9}" for head in heads))
    for name, more in (("resnet50", 3), ("squeezenet1_1", 9)):
        one_pass(name, more * arguments.rounds)
        opti(name, arguments.rounds)
        score(name, arguments.channels, arguments.rounds)
        ablation(name)


if __name__ == "__main__":
    main()

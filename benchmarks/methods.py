"""Speed of the methods, as ratios to plain passes and to torch-cam in the same run.

    python benchmarks/methods.py [--rounds 5] [--channels 64]

Both sides of a ratio are timed in turn (A, B, B, A ...) and compared by their medians. Score-CAM is compared with
torch-cam, in its batches of 32 and in ours, on a ResNet-50 with one more layer of so few channels, all of them asked.
"""

import argparse
from collections.abc import Callable

import torch
import torchcam.methods
import torchvision
from speed import forwards, random_backbone, ratio
from torch import nn

from explorer import Probe, sample
from explorer.backbones import Backbone
from explorer.backbones.preprocessing import from_torchvision
from explorer.methods import find
from explorer.methods.masking import ScoreCAM
from explorer.methods.optimisation import OptiCAM


def narrow_resnet50(channels: int) -> tuple[nn.Module, Backbone]:
    """ResNet-50 with a last layer of few channels, so that Score-CAM takes few passes; as rival and as ours."""

    def model() -> nn.Module:
        torch.manual_seed(0)
        found = torchvision.models.resnet50()
        found.layer4.append(nn.Sequential(nn.Conv2d(2048, channels, 1), nn.ReLU()))
        found.fc = nn.Linear(channels, 1000)
        return found.eval()

    entry = torchvision.models.ResNet50_Weights.IMAGENET1K_V1
    labels = tuple(entry.meta["categories"])
    return model(), Backbone("resnet50 (random)", model(), from_torchvision(entry.transforms()), labels)


Work = Callable[[], object]


def report(name: str, work: str, ours: Work, other: Work, limit: float, rounds: int) -> None:
    """Prints the seconds of both and their ratio, with the limit that it must keep."""
    first, second, quotient = ratio(ours, other, rounds)
    print(f"{name:24} {work:36} {first:8.4f} {second:8.4f} {quotient:6.3f} {limit:6.2f}")


ONE_GRADIENT = ("grad-cam", "grad-cam++", "xgrad-cam", "hires-cam", "layer-cam", "finer-cam")


def one_pass(backbone: Backbone, rounds: int) -> None:
    """The methods that need no further pass, against one plain forward."""
    cut = backbone.cut()
    image = backbone.preprocessing.tensor(sample("chelsea"))

    def explain(*names: str) -> None:
        probe = Probe(cut, image)
        for name in names:
            find(name)()(probe, 1)

    for names, work, limit in (
        (ONE_GRADIENT, f"{len(ONE_GRADIENT)} gradient methods / 1 forward", 1.2),
        (("ablation-cam",), "Ablation-CAM / 1 forward", 1.1),
        (("lift-cam",), "LIFT-CAM / 1 forward", 1.1),
    ):
        report(
            backbone.name,
            work,
            lambda names=names: explain(*names),  # type: ignore[misc]
            lambda: forwards(backbone, image, 1, 1),
            limit,
            rounds,
        )


def opti(backbone: Backbone, rounds: int, iterations: int = 10) -> None:
    """Iterations of Opti-CAM against as many forward passes with gradients to the input."""
    cut = backbone.cut()
    image = backbone.preprocessing.tensor(sample("chelsea"))

    def plain() -> None:
        forwards(backbone, image, 1, 1)
        for _ in range(iterations):
            leaf = image[None].contiguous(memory_format=torch.channels_last).requires_grad_()
            torch.autograd.grad(backbone(leaf)[0, 1], leaf)

    report(
        backbone.name,
        "Opti-CAM iteration / forward, backward",
        lambda: OptiCAM(iterations=iterations)(Probe(cut, image), 1),
        plain,
        1.1,
        rounds,
    )


def score(channels: int, rounds: int) -> None:
    model, backbone = narrow_resnet50(channels)
    cut = backbone.cut("layer4")
    image = backbone.preprocessing.tensor(sample("chelsea"))
    method = ScoreCAM(variant="channel-softmax")

    def rival(batch: int) -> Work:
        def explain() -> None:
            with torchcam.methods.ScoreCAM(model, "layer4", batch_size=batch) as extractor, torch.no_grad():
                extractor(1, model(image[None]))

        return explain

    for batch in (32, backbone.batch):
        report(
            backbone.name,
            f"Score-CAM / torch-cam, batches of {batch}",
            lambda: method(Probe(cut, image), 1),
            rival(batch),
            0.75,
            rounds,
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--channels", type=int, default=64)
    arguments = parser.parse_args()
    print(f"{'network':24} {'work':36} {'ours, s':>8} {'other':>8} {'ratio':>6} {'limit':>6}")
    for backbone, more in ((random_backbone("resnet50"), 3), (random_backbone("squeezenet1_1"), 9)):
        one_pass(backbone, more * arguments.rounds)
        opti(backbone, arguments.rounds)
    score(arguments.channels, arguments.rounds)


if __name__ == "__main__":
    main()

"""Speed of explaining, as ratios to plain forward passes of the same network in the same run.

    PYTHONPATH=. python benchmarks/speed.py

Both sides of a ratio are timed in turn (A, B, B, A ...) and compared by their medians. The plain passes are those of
the network as we run it, in the layout and batches that suit the processor.
"""

import statistics
import time
from collections.abc import Callable, Sequence

import torch
import torchvision
from torch import nn

from explorer import Probe, calibrate, sample
from explorer.backbones import Backbone, load
from explorer.backbones.preprocessing import from_torchvision
from explorer.methods import find
from explorer.methods.libra import LibraCAM

REFERENCES, LEVELS = 30, 10


def random_model(name: str) -> nn.Module:
    """A classifier of torchvision with seeded random weights: the cost is that of the published ones."""
    torch.manual_seed(0)
    model: nn.Module = torchvision.models.get_model(name)
    return model.eval()


def random_backbone(name: str, model: nn.Module | None = None, device: str = "cpu") -> Backbone:
    """As a backbone; with another model, for the same pictures and labels."""
    entry = torchvision.models.get_model_weights(name).IMAGENET1K_V1
    preprocessing, labels = from_torchvision(entry.transforms()), tuple(entry.meta["categories"])
    return Backbone(f"{name} (random)", model or random_model(name), preprocessing, labels, device)


def medians(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Median seconds of each, from interleaved rounds after one warm-up each."""
    times: list[list[float]] = [[] for _ in works]
    for work in works:
        work()
    for number in range(rounds):
        for work, found in list(zip(works, times, strict=True))[:: 1 if number % 2 else -1]:
            started = time.perf_counter()
            work()
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            found.append(time.perf_counter() - started)
    return [statistics.median(found) for found in times]


@torch.inference_mode()
def forwards(backbone: Backbone, image: torch.Tensor, count: int, batch: int) -> None:
    """So many plain forward passes in batches of this size."""
    for start in range(0, count, batch):
        size = min(batch, count - start)
        images = image.to(backbone.device).expand(size, -1, -1, -1)
        backbone(images.contiguous(memory_format=torch.channels_last))


def measure(backbone: Backbone, rounds: int) -> None:
    """Prints the ratios of one network, with the limits that they must keep."""
    cut = backbone.cut()
    image = backbone.preprocessing.tensor(sample("chelsea"))
    target = int(Probe(cut, image).logits.argmax())
    shape = (REFERENCES, cut.layer.channels, cut.layer.height, cut.layer.width)
    references = torch.rand(shape, generator=torch.Generator().manual_seed(0)).half()

    def grad_cam() -> None:
        find("grad-cam")()(Probe(cut, image), target)

    def libra_cam() -> None:
        probe = Probe(cut, image)
        attribution = LibraCAM(size=REFERENCES)(probe, target, references)
        calibrate(probe, attribution.saliency, target, tuple(range(0, 100, 100 // LEVELS)))

    def one_pass() -> None:
        forwards(backbone, image, 1, 1)

    def same_passes() -> None:
        for count in (1, REFERENCES, LEVELS):
            forwards(backbone, image, count, backbone.batch)

    for name, ours, plain, limit, count in (
        ("Grad-CAM / 1 forward", grad_cam, one_pass, 1.1, 5 * rounds),
        (f"Libra-CAM / {1 + REFERENCES + LEVELS} forwards", libra_cam, same_passes, 1.15, rounds),
    ):
        first, second = medians((ours, plain), count)
        print(f"{backbone.name:20} {name:28} {first:8.4f} {second:8.4f} {first / second:6.3f} {limit:6.2f}")


def main() -> None:
    print(f"{'network':20} {'work':28} {'ours, s':>8} {'plain':>8} {'ratio':>6} {'limit':>6}")
    measure(load("efficientnet_lite0"), 21)
    measure(random_backbone("resnet50"), 7)


if __name__ == "__main__":
    main()

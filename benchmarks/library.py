"""Reference libraries: building against the bare network on the same pictures, and opening a large one.

    python benchmarks/library.py [--pictures 256] [--records 10000]

The bare network is the trunk of the layer, in the same batches; the pictures are decoded beforehand on both sides, so
their preparation (resize, crop, normalise) counts on both.
"""

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from explorer.backbones import Cut, load
from explorer.images import Picture
from explorer.library import Library, Recipe, Source, Subject, build, installed, open_library, select, store
from explorer.library.shard import Shard, write_shard

_ROUNDS = 3


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--backbones", nargs="+", default=["efficientnet_lite0", "squeezenet1_1"])
    arguments = parser.parse_args()
    for name in arguments.backbones:
        _build(load(name).cut(), arguments.pictures)
    _open(load("efficientnet_lite0").cut(), arguments.records)


def _build(cut: Cut, count: int) -> None:
    generator = np.random.default_rng(0)
    pictures = [
        Picture(str(i), str(i), generator.integers(0, 256, (300, 400, 3), np.uint8)) for i in range(count)
    ]
    sources = [Source(picture.name, partial(lambda one: one, picture)) for picture in pictures]

    def bare() -> None:
        backbone = cut.backbone
        with torch.inference_mode():
            for start in range(0, count, backbone.batch):
                chunk = [
                    backbone.preprocessing.tensor(one) for one in pictures[start : start + backbone.batch]
                ]
                cut.trunk(torch.stack(chunk).contiguous(memory_format=torch.channels_last))

    def ours() -> None:
        with tempfile.TemporaryDirectory() as home:
            os.environ["EXPLORER_HOME"] = home
            build([cut], Recipe("mine", "benchmark"), sources)

    bare()
    ratios = [_seconds(bare) / _seconds(ours) for _ in range(_ROUNDS)]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{cut.backbone.name}: {count} pictures are built at {statistics.median(ratios):.2f} of the bare trunk's "
        f"throughput ({min(ratios):.2f} to {max(ratios):.2f}); one more build took {grown:.0f} MB more"
    )


def _open(cut: Cut, count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["EXPLORER_HOME"] = home
        _generate(cut, count)
        before = _resident()
        opened = _seconds(lambda: open_library(cut, "large"))
        library = open_library(cut, "large")
        subject = Subject("none", torch.zeros(32, dtype=torch.uint8), torch.rand(cut.layer.channels))
        chosen = select(library, 1, subject=subject)
        references = library.activations(chosen.indices[:30])
        grown = (_resident() - before - references.nbytes) / 2**20
        times = [_seconds(partial(_references, library, target, subject)) for target in range(2, 12)]
        size = installed()[0].bytes / 1e9
        print(
            f"{count} records ({size:.1f} GB) open in {opened * 1000:.0f} ms, select 30 and read them in "
            f"{statistics.median(times) * 1000:.0f} ms and add {grown:.0f} MB of memory"
        )


def _references(library: Library, target: int, subject: Subject) -> torch.Tensor:
    return library.activations(select(library, target, subject=subject).indices[:30])


def _resident() -> int:
    """Bytes of this process in memory, those of mapped files too (Linux)."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _generate(cut: Cut, count: int) -> None:
    """A library of random records."""
    generator = torch.Generator().manual_seed(0)
    classes = len(cut.backbone.labels)
    folder = store.folder_of(cut, "large")
    files = []
    with store.writing(folder):
        for start in range(0, count, 64):
            n = min(64, count - start)
            labels = torch.randint(classes, (n,), generator=generator)
            probabilities = torch.full((n, classes), 1e-5)
            probabilities[torch.arange(n), labels] = 0.99
            shape = (n, cut.layer.channels, cut.layer.height, cut.layer.width)
            shard = Shard(
                tuple(f"{start + row:06}.jpg" for row in range(n)),
                tuple(f"{start + row:064}" for row in range(n)),
                torch.rand(shape, generator=generator).half(),
                probabilities,
                labels,
                torch.randint(256, (n, 96, 96, 3), generator=generator, dtype=torch.uint8),
            )
            files.append(write_shard(folder, shard))
        layer, backbone = cut.layer.name, cut.backbone.name
        space = cut.fingerprint
        info = store.LibraryInfo("large", backbone, layer, space, "random", 0, 0, "", "", tuple(files))
        store.publish(store.assembled(info))


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()

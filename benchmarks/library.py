"""Reference libraries: building against the bare network on the same pictures, and opening a large one.

    PYTHONPATH=. python benchmarks/library.py [--pictures 256] [--records 10000]

Bare are the trunk of the layer as torch lays it out, and in the explorer's layout (channels last), and the whole
network in that layout, which the probabilities need; in the same batches. The pictures are decoded beforehand on all
sides, so their preparation (resize, crop, normalise) counts everywhere. Each rule of selection is measured on the large
library in a process of its own: its first call, the next ones for other classes, and the memory that the library has
then added.
"""

import argparse
import copy
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from itertools import repeat
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from explorer.backbones import Cut, load
from explorer.compute import keep_freed_memory
from explorer.images import Picture
from explorer.library import (
    RULES,
    Recipe,
    Rule,
    Source,
    Subject,
    build,
    installed,
    open_library,
    select,
    store,
)
from explorer.library.shard import Shard, write

_ROUNDS = 3


def main() -> None:
    keep_freed_memory()
    parser = argparse.ArgumentParser()
    parser.add_argument("--pictures", type=int, default=256)
    parser.add_argument("--records", type=int, default=10_000)
    parser.add_argument("--backbones", nargs="*", default=["efficientnet_lite0", "squeezenet1_1"])
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

    def bare(network: Callable[[Tensor], Tensor], layout: torch.memory_format) -> None:
        backbone = cut.backbone
        with torch.inference_mode():
            for start in range(0, count, backbone.batch):
                chunk = [
                    backbone.preprocessing.tensor(one) for one in pictures[start : start + backbone.batch]
                ]
                network(torch.stack(chunk).contiguous(memory_format=layout))

    def ours() -> None:
        with tempfile.TemporaryDirectory() as home:
            os.environ["EXPLORER_HOME"] = home
            build([cut], Recipe("mine", "benchmark"), sources)

    plain = copy.deepcopy(cut.trunk).to(memory_format=torch.contiguous_format)
    works = (
        partial(bare, plain, torch.contiguous_format),
        partial(bare, cut.trunk, torch.channels_last),
        partial(bare, cut.backbone, torch.channels_last),
        ours,
    )
    rounds = [[_seconds(work) for work in works] for _ in range(_ROUNDS + 1)][1:]
    usual, trunk, network = ([times[i] / times[-1] for times in rounds] for i in range(3))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    ours()
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    print(
        f"{cut.backbone.name}: {count} pictures are built at {_spread(usual)} of the bare trunk's throughput, "
        f"{_spread(trunk)} in our layout, and {_spread(network)} of the whole network's; one more build took "
        f"{grown:.0f} MB more"
    )


def _spread(ratios: list[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _open(cut: Cut, count: int) -> None:
    with tempfile.TemporaryDirectory() as home:
        os.environ["EXPLORER_HOME"] = home
        _generate(cut, count)
        opened = _seconds(lambda: open_library(cut, "large"))
        size = installed()[0].bytes / 1e9
        print(f"{count} records ({size:.1f} GB) open in {opened * 1000:.0f} ms")
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as fresh:
            for rule, (first, next_ones, reading, grown) in zip(
                RULES, fresh.map(_select, RULES, repeat(cut.backbone.name)), strict=True
            ):
                print(
                    f"{rule}: selects 30 in {next_ones * 1000:.1f} ms, at first in {first * 1000:.0f} ms, reads "
                    f"them in {reading * 1000:.1f} ms and adds {grown / 2**20:.0f} MB of memory"
                )


def _select(rule: Rule, backbone: str) -> tuple[float, float, float, int]:
    """Seconds of the first selection, of the next ones and of reading 30 references, and the bytes that remain."""
    cut = load(backbone).cut()
    subject = Subject("none", torch.zeros(32, dtype=torch.uint8), torch.rand(cut.layer.channels))
    before = _resident()
    library = open_library(cut, "large")

    def chosen(target: int) -> Tensor:
        return select(library, target, rule=rule, subject=subject).indices[:30]

    first = _seconds(partial(chosen, 1))
    targets = range(2, 12)
    times = [_seconds(partial(chosen, target)) for target in targets]
    reading = [_seconds(partial(library.activations, chosen(target))) for target in targets]
    return first, statistics.median(times), statistics.median(reading), _resident() - before


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
            files.append(write(folder, "shard", shard.encoded()))
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

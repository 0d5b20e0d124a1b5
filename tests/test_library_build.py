"""Libraries built, interrupted, built at once, put together, given away and thrown away."""

import errno
import hashlib
import io
import json
import math
import os
import shutil
import subprocess
import sys
import threading
import time
import zipfile
from contextlib import contextmanager
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load as load_tensors
from safetensors.torch import save
from test_library import EIGHT, building, but, hand_made, stopping, toy_backbone
from torch.utils._python_dispatch import TorchDispatchMode

from explorer import METRICS, Engine, Request
from explorer import library as libraries
from explorer.dataset import Entry, open_dataset
from explorer.images import load, sample
from explorer.library import (
    LibraryError,
    Recipe,
    Subject,
    build,
    check,
    delete,
    discard,
    export,
    forget,
    from_entries,
    from_pictures,
    installed,
    marks,
    merge,
    open_library,
    select,
    store,
    take_in,
    textures,
    tidy,
    unfinished,
    unreadable,
)
from explorer.library import shard as shards
from explorer.library.cluster import clusters
from explorer.library.store import parse_index
from explorer.methods.libra import LibraCAM

RECIPE = Recipe("mine", "folder")


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    """So that a toy library has several."""
    monkeypatch.setattr(building, "SHARD", 64)


@pytest.fixture(scope="module")
def toy():
    return toy_backbone().cut()


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """200 small pictures of noise, of which two are copies and one is cut short."""
    folder = tmp_path_factory.mktemp("photos")
    generator = np.random.default_rng(0)
    for number in range(200):
        coarse = generator.integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(coarse).resize((40, 40)).save(folder / f"{number:03}.png")
    for copy, original in ((150, 3), (151, 149)):
        (folder / f"{copy}.png").write_bytes((folder / f"{original:03}.png").read_bytes())
    (folder / "060.png").write_bytes((folder / "060.png").read_bytes()[:60])
    return folder


def sources_of(cut, folder, labels=None):
    return from_entries(open_dataset(folder, classes=cut.backbone.labels, labels=labels))


def content(home):
    """Every file but locks and notes of use, by its place in the home."""
    return {
        str(path.relative_to(home)): path.read_bytes()
        for path in home.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "used"
    }


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
sys.path[:0] = sys.argv[3:]
from test_library_build import RECIPE, sources_of
from test_library import building, toy_backbone
from explorer.library import build
torch.set_num_threads(1)
building.SHARD = 64
folder, photos, moments = Path(sys.argv[1]), Path(sys.argv[2]), random.Random(0)
backbone = toy_backbone()
cuts = [backbone.cut(layer.name) for layer in backbone.layers[-2:]]
sources = sources_of(cuts[0], photos)
backbone.tapped(tuple(cut.layer for cut in cuts))

def attempt(home):
    os.environ["EXPLORER_HOME"] = str(home)
    child = os.fork()
    if not child:
        build(cuts, RECIPE, sources)
        os._exit(0)
    return child

began = time.monotonic()
assert os.waitpid(attempt(folder / "undisturbed"), 0)[1] == 0
usual = time.monotonic() - began
killed = rounds = 0
while killed < 50:
    rounds += 1
    home = folder / f"killed {rounds}"
    while True:
        child = attempt(home)
        time.sleep(moments.uniform(0, usual / 3))
        os.kill(child, signal.SIGKILL)
        if not os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            break
        killed += 1
        if killed % 7 == 0:
            assert os.waitpid(attempt(home), 0)[1] == 0
            break
    assert os.waitpid(attempt(home), 0)[1] == 0
print(rounds)
"""


def test_killed_at_fifty_moments_it_ends_with_the_same_files(photos, tmp_path):
    here = Path(__file__).parent
    command = [sys.executable, "-c", KILLED, str(tmp_path), str(photos), str(here), str(here.parent)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    expected = content(tmp_path / "undisturbed")
    assert len([name for name in expected if "shard" in name]) == 2 * 4
    for number in range(1, int(done.stdout) + 1):
        assert content(tmp_path / f"killed {number}") == expected


def counted(sources, read):
    """The sources, which note their names when they are read."""

    def noting(source):
        def reading():
            read.append(source.identifier)
            return source.read()

        return reading

    return [replace(source, read=noting(source)) for source in sources]


@pytest.mark.parametrize("stopped", [32, 64, 96, 192])
def test_what_was_stored_is_not_read_again(home, toy, photos, stopped):
    read = []
    sources = counted(sources_of(toy, photos), read)
    with pytest.raises(LibraryError):
        build([toy], RECIPE, sources, stopping(stopped))
    stored = len((store.folder_of(toy, "mine") / "build.jsonl").read_text().splitlines()) - 1
    assert 64 * stored in (64 * (stopped // 64), 64 * (stopped // 64) - 64)  # written beside the next
    read.clear()
    build([toy], RECIPE, sources)
    assert sorted(read) == [source.identifier for source in sources[64 * stored :]]


@pytest.mark.parametrize("number", range(4))
def test_of_several_files_the_damaged_alone_is_made_again(home, photos, number):
    backbone = toy_backbone()
    cuts = [backbone.cut(layer.name) for layer in backbone.layers]
    read = []
    sources = counted(sources_of(cuts[0], photos), read)
    infos = build(cuts, RECIPE, sources)
    whole = content(home)
    damaged = infos[0].folder / infos[0].shards[number].name
    damaged.write_bytes(damaged.read_bytes()[:-1])
    read.clear()
    assert build(cuts, RECIPE, sources) == infos
    assert sorted(read) == [source.identifier for source in sources[64 * number : 64 * number + 64]]
    assert content(home) == whole


def test_two_damaged_files_and_a_kill_between_them(home, toy, photos):
    read = []
    sources = counted(sources_of(toy, photos), read)
    [info] = build([toy], RECIPE, sources)
    whole = content(home)
    for number in (0, 2):
        (info.folder / info.shards[number].name).unlink()
    with pytest.raises(LibraryError):
        build([toy], RECIPE, sources, stopping(200))
    read.clear()
    build([toy], RECIPE, sources)
    assert sorted(read) in ([source.identifier for source in sources[128:192]], [])
    assert content(home) == whole


def test_where_a_size_is_wanted_the_total_is_what_it_is_likely_to_take(home, toy, photos):
    told = []
    build([toy], Recipe("mine", "folder", size=80), sources_of(toy, photos), lambda *step: told.append(step))
    assert told[0][:2] == (0, 200)
    assert all(80 <= total < 120 for _, total, _ in told[1:])
    assert all(done < total for done, total, _ in told[:-1])
    assert told[-1][0] == told[-1][1]


def test_another_build_of_the_name_is_not_thrown_away(home, toy, photos):
    sources = sources_of(toy, photos)
    with pytest.raises(LibraryError):
        build([toy], RECIPE, sources, stopping(192))
    before = content(home)
    with pytest.raises(
        LibraryError, match=r"'mine' .* is not finished \(folder, 200 pictures\): .*delete it"
    ):
        build([toy], RECIPE, sources[:100])
    assert content(home) == before
    [begun] = unfinished()
    forget(begun)
    [info] = build([toy], RECIPE, sources[:100])
    check(info)


def test_a_library_whose_index_is_lost_is_told_and_can_be_removed(home, toy):
    [info] = build([toy], RECIPE, textures(5))
    [merged] = [merge([info], Recipe("merged", "parts"))]
    assert not unreadable()
    for one in (info, merged):
        (one.folder / "index.json").write_text("{")
    assert [begun.name for begun in unfinished()] == ["mine"]  # which its build mends
    assert unreadable() == [merged.folder]
    with pytest.raises(LibraryError, match="made anew meanwhile"):
        discard(info.folder)
    discard(merged.folder)
    assert not merged.folder.exists()
    assert not unreadable()


@pytest.mark.parametrize("after", range(1, 9))
def test_a_full_disk_is_told_and_the_build_goes_on_when_there_is_room(home, toy, photos, monkeypatch, after):
    sources, written = sources_of(toy, photos), []

    def full(descriptor):
        written.append(descriptor)
        if len(written) > after:
            raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shards.os, "fsync", full)
        with pytest.raises(LibraryError, match=r"No space left on device.*EXPLORER_HOME"):
            build([toy], RECIPE, sources)
    assert not installed()
    with pytest.raises(LibraryError, match="is not finished: go on"):
        open_library(toy, "mine")
    [info] = build([toy], RECIPE, sources)
    check(info)
    resumed = content(home)
    delete(info)
    build([toy], RECIPE, sources)
    assert content(home) == resumed


def test_where_nothing_can_be_written_it_says_so(tmp_path, toy, photos, monkeypatch):
    place = tmp_path / "file"
    place.write_text("no folder")
    monkeypatch.setenv("EXPLORER_HOME", str(place))
    with pytest.raises(LibraryError, match=r"cannot be written to .*file .*EXPLORER_HOME"):
        build([toy], RECIPE, sources_of(toy, photos))


@contextmanager
def closed(folder):
    """Nothing can be made in a folder nor in those below it, not even by root, who becomes another meanwhile."""
    below, root = [folder, *(path for path in folder.rglob("*") if path.is_dir())], not os.geteuid()
    for path in below:
        path.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path in below:
            path.chmod(0o755)


@pytest.mark.parametrize("begun", [False, True])
def test_a_read_only_folder_is_told_and_the_build_goes_on_when_it_is_open(toy, tmp_path, monkeypatch, begun):
    monkeypatch.chdir(tmp_path)  # the folders above it may be closed to whom root becomes
    home = Path("home")
    home.mkdir()
    monkeypatch.setenv("EXPLORER_HOME", "home")
    sources, visited = textures(200), []

    def count(done, total, written):
        visited.append(done)

    if begun:
        with pytest.raises(RuntimeError, match="stopped"):
            build([toy], RECIPE, sources, stopping(151, RuntimeError("stopped")))
    before = content(home)
    with (
        closed(home),
        pytest.raises(LibraryError, match=r"cannot be written to home .*denied.*EXPLORER_HOME"),
    ):
        build([toy], RECIPE, sources)
    assert content(home) == before
    [info] = build([toy], RECIPE, sources, count)
    check(info)
    assert (info.records, next(filter(None, visited))) == (200, 128 if begun else toy.backbone.batch)


def test_two_builders_and_a_reader_at_once(home, toy, photos, tmp_path):
    """A former library serves until the new one is whole, and both builders end with that one."""
    former = from_entries([Entry("a", photos / "000.png"), Entry("b", photos / "001.png")])
    build([toy], RECIPE, former)
    old = open_library(toy, "mine").activations(torch.arange(2))
    sources, seen, failures = sources_of(toy, photos), set(), []
    finished = threading.Event()

    def read():
        while not finished.is_set():
            try:
                library = open_library(toy, "mine")
                found = library.activations(torch.arange(2))
                seen.add((len(library), found.numpy().tobytes()))
            except LibraryError as error:
                failures.append(error)

    script = (
        "from test_library_build import *; cut = toy_backbone().cut(); "
        "build([cut], RECIPE, sources_of(cut, Path(sys.argv[1])))"
    )
    paths = os.pathsep.join([str(Path(__file__).parent), str(Path(__file__).parents[1])])
    reader = threading.Thread(target=read)
    reader.start()
    try:
        builders = [
            subprocess.Popen(
                [sys.executable, "-c", script, str(photos)], env={**os.environ, "PYTHONPATH": paths}
            )
            for _ in range(2)
        ]
        assert [builder.wait() for builder in builders] == [0, 0]
    finally:
        finished.set()
        reader.join()
    assert not failures
    library = open_library(toy, "mine")
    check(library.info)
    new = library.activations(torch.arange(2))
    assert seen <= {(2, old.numpy().tobytes()), (197, new.numpy().tobytes())}
    build([toy], Recipe("other", "folder"), sources)
    assert open_library(toy, "other").info.fingerprint == library.info.fingerprint


def test_what_stands_in_a_library(home, toy, photos):
    [info] = build([toy], RECIPE, sources_of(toy, photos))
    library = open_library(toy, "mine")
    assert info.records == len(library) == 200 - 2 - 1
    assert list(library.ids) == sorted(library.ids)
    assert {"150.png", "151.png", "060.png"}.isdisjoint(library.ids)
    assert [reason.split()[0] for reason in info.skipped] == ['"060.png"']
    for index in (0, 100, 196):
        image = toy.backbone.preprocessing.tensor(load(photos / library.ids[index]))
        raw = toy.trunk(image[None].double().float())[0]
        [found] = library.activations(torch.tensor([index]))
        assert found.float().numpy() == pytest.approx(raw.numpy(), rel=1e-3, abs=1e-5)
        assert library.means[index].numpy() == pytest.approx(raw.mean((1, 2)).numpy(), rel=1e-3, abs=1e-5)
        chances = toy.head(raw[None]).softmax(1)[0]
        assert [float(library.chances(c)[index]) for c in range(3)] == pytest.approx(
            chances.tolist(), abs=1e-6
        )


def test_one_pass_fills_several_layers(home, photos):
    backbone = toy_backbone()
    cuts = [backbone.cut(layer.name) for layer in backbone.layers]
    passes = []
    backbone._traced.get_submodule("0").register_forward_hook(lambda *_: passes.append(1))
    infos = build(cuts, RECIPE, sources_of(cuts[0], photos))
    batches = [math.ceil(count / backbone.batch) for count in (64, 64, 64, 8)]
    assert len(passes) == sum(batches)
    assert [info.layer for info in infos] == [layer.name for layer in backbone.layers]
    for cut in cuts:
        alone = toy_backbone().cut(cut.layer.name)
        together = open_library(cut, "mine")
        assert together.activations(torch.arange(3)).shape[1:] == (
            cut.layer.channels,
            cut.layer.height,
            cut.layer.width,
        )
        build([alone], Recipe("alone", "folder"), sources_of(alone, photos))
        assert open_library(alone, "alone").info.fingerprint == together.info.fingerprint


def guesses(cut, photos):
    """(class, probability) of every picture, by its name."""
    found = {}
    for path in sorted(photos.glob("*.png")):
        if path.name != "060.png":
            image = cut.backbone.preprocessing.tensor(load(path))
            chance, guess = cut.backbone(image[None]).softmax(1)[0].max(0)
            found[path.name] = (int(guess), float(chance))
    return found


class TestChoice:
    """Which pictures a recipe takes."""

    def test_at_most_so_many_of_a_class_and_in_all(self, home, toy, photos):
        sources, told = sources_of(toy, photos), guesses(toy, photos)
        build([toy], Recipe("few", "folder", per_class=5), sources)
        library = open_library(toy, "few")
        assert max(library.labels.bincount().tolist()) == 5
        first = [name for name, (guess, _) in told.items() if guess == int(library.labels[0])][:5]
        assert [
            i for i, label in zip(library.ids, library.labels, strict=True) if label == library.labels[0]
        ] == first
        build([toy], Recipe("drawn", "folder", size=10), sources)
        drawn = open_library(toy, "drawn")
        assert len(drawn) == 10
        assert drawn.ids != tuple(sorted(told))[:10]

    def test_balanced_shares_are_equal(self, home, toy, photos, tmp_path):
        labels = tmp_path / "labels.csv"
        rows = [
            f"{path.name},{0 if number < 150 else number % 3}"
            for number, path in enumerate(sorted(photos.iterdir()))
        ]
        labels.write_text("\n".join(["file,class_index", *rows]))
        build([toy], Recipe("mine", "folder", size=30, balanced=True), sources_of(toy, photos, labels))
        assert open_library(toy, "mine").labels.bincount().tolist() == [10, 10, 10]

    def test_confident_and_right(self, home, photos, tmp_path):
        sure = toy_backbone()
        with torch.no_grad():
            sure.graph.get_parameter("6.weight").mul_(40)
        cut, told = sure.cut(), guesses(sure.cut(), photos)
        labels = tmp_path / "labels.csv"
        rows = [f"{name},{number % 3}" for number, name in enumerate(told)]
        labels.write_text("\n".join(["file,class_index", *rows]))
        build([cut], Recipe("mine", "folder", keep="confident"), sources_of(cut, photos, labels))
        expected = {
            name
            for number, (name, (guess, chance)) in enumerate(told.items())
            if guess == number % 3 and chance >= 0.8
        }
        for copy, original in (("150.png", "003.png"), ("151.png", "149.png")):
            if original in expected:
                expected.discard(copy)
        assert 5 < len(expected) < 100
        assert set(open_library(cut, "mine").ids) == expected

    def test_of_several_classes_the_most_probable_counts(self, home, toy, photos):
        told = guesses(toy, photos)
        entries = [Entry(name, photos / name, (0, 1)) for name in list(told)[:20]]
        build([toy], RECIPE, from_entries(entries))
        library = open_library(toy, "mine")
        assert (
            library.labels.tolist()
            == torch.stack([library.chances(0), library.chances(1)]).argmax(0).tolist()
        )

    @pytest.mark.parametrize(
        ("wrong", "words"),
        [({"size": -1}, "negative"), ({"balanced": True}, "needs a size"), ({"name": ""}, "name")],
    )
    def test_wrong_recipes_are_refused(self, wrong, words):
        with pytest.raises(LibraryError, match=words):
            Recipe(**{"name": "mine", "source": "folder", **wrong})

    def test_pictures_at_hand_and_textures(self, home, toy):
        pictures = [sample("coffee"), sample("china"), sample("coffee")]
        build([toy], RECIPE, from_pictures(pictures))
        assert len(open_library(toy, "mine")) == 2
        build([toy], Recipe("textures", "textures"), textures(20))
        library = open_library(toy, "textures")
        assert len(library) == 20

    def test_given_up(self, home, toy, photos):
        with pytest.raises(LibraryError):
            build([toy], RECIPE, sources_of(toy, photos), stopping(101))
        [begun] = unfinished()
        assert (begun.name, begun.layer, begun.pictures) == ("mine", toy.layer.name, 200)
        forget(begun)
        assert not unfinished()
        assert not content(home)


def parts_of(cut, photos, count):
    """The pictures built as so many libraries, as different machines would."""
    sources = sources_of(cut, photos)
    return [
        build([cut], Recipe(f"part {number}", "folder"), sources[number::count])[0] for number in range(count)
    ]


@pytest.mark.parametrize("count", [2, 8])
def test_merged_of_parts_in_any_order_it_is_the_same(home, toy, photos, count):
    [whole] = build([toy], RECIPE, sources_of(toy, photos))
    parts = parts_of(toy, photos, count)
    for name, order in (("forward", parts), ("backward", parts[::-1]), ("twice", parts + parts[:1])):
        merged = merge(order, Recipe(name, "merged"))
        assert merged.fingerprint == whole.fingerprint
        check(merged)
        library, expected = open_library(toy, name), open_library(toy, "mine")
        assert library.ids == expected.ids
        subject = replace(but("none"), means=torch.ones(5))
        for rule in libraries.RULES:
            chosen = select(library, 1, rule=rule, seed=3, subject=subject).indices
            assert torch.equal(chosen, select(expected, 1, rule=rule, seed=3, subject=subject).indices)
            assert torch.equal(library.activations(chosen), expected.activations(chosen))
    for part in parts:
        delete(part)
    check(merged)


def engine_of(cut):
    engine = Engine("cpu")
    engine.add(cut.backbone)
    return engine


def test_maps_are_the_same_from_any_number_of_shards_in_any_order(home, toy, photos, monkeypatch):
    """To the bit. Each library has an engine of its own, for one remembers what it has measured of equal ones."""
    monkeypatch.setattr(building, "SHARD", 200)
    monkeypatch.setattr(import_module("explorer.library.select"), "CONFIDENT", 0)  # so that there are draws
    engines = {}
    for count in (1, 2, 8):
        parts = parts_of(toy, photos, count)
        Random(count).shuffle(parts)
        info = merge(parts, Recipe(f"of {count}", "merged"))
        assert len(info.shards) == count
        engines[info.name] = engine_of(toy)
    picture = sample("rocket")
    request = Request("toy", method=LibraCAM(size=40), target=0, seed=5, limit=1)
    for rule in libraries.RULES:
        whole, *others = (
            engine.explain(picture, replace(request, library=name, rule=rule))
            for name, engine in engines.items()
        )
        assert len(whole.references.gains.unique()) == 40
        assert not whole.references.fallback
        for other in others:
            assert torch.equal(other.attribution.saliency, whole.attribution.saliency)
            assert torch.equal(other.references.gains, whole.references.gains)
            assert other.calibration == whole.calibration


def test_references_are_read_where_they_are_used_and_never_when_damaged(home, toy, photos, monkeypatch):
    """A map whose references are measured needs their activations no more, a map of another picture does."""
    monkeypatch.setattr(store, "_HELD", 0)  # so that nothing is read ahead
    build([toy], RECIPE, sources_of(toy, photos))
    engine, picture = engine_of(toy), sample("rocket")
    request = Request("toy", method=LibraCAM(size=40), target=0, library="mine")
    before = engine.explain(picture, request)
    for path in home.rglob("shard-*.safetensors"):
        data = path.read_bytes()
        start = 8 + int.from_bytes(data[:8], "little")
        path.write_bytes(data[:start] + bytes(byte ^ 1 for byte in data[start:]))
    again = engine.explain(picture, request)
    assert torch.equal(again.attribution.saliency, before.attribution.saliency)
    engine.figures(picture, [request], [METRICS["complexity"]()])
    with pytest.raises(LibraryError, match="does not hold what was written"):
        engine.figures(picture, [request], [METRICS["coherency"]()])
    with pytest.raises(LibraryError, match="does not hold what was written"):
        engine.explain(sample("coffee"), request)


def test_only_what_belongs_together_is_merged(home, toy, photos):
    [one] = build([toy], RECIPE, textures(5))
    other = toy_backbone(seed=1).cut()
    [two] = build([other], RECIPE, textures(5))
    with pytest.raises(LibraryError, match="merge libraries of one backbone and layer"):
        merge([one, two], Recipe("both", "merged"))
    (one.folder / one.shards[0].name).write_bytes(b"x")
    with pytest.raises(LibraryError, match=rf"{one.shards[0].name} does not hold what was written"):
        merge([one], Recipe("both", "merged"))


def exported(info):
    file = io.BytesIO()
    export(info, file)
    return file


def test_given_away_and_taken_in(home, toy, photos, tmp_path, monkeypatch):
    [info] = build([toy], RECIPE, textures(5))
    file = exported(info)
    assert exported(info).getvalue() == file.getvalue()
    assert take_in(file) == info
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path / "elsewhere"))
    there = take_in(file)
    assert there == replace(info, plan="")
    check(there)
    expected = {name: data for name, data in content(home).items() if "safetensors" in name}
    found = content(tmp_path / "elsewhere")
    assert {name: data for name, data in found.items() if "safetensors" in name} == expected
    assert take_in(file, "another").fingerprint == info.fingerprint
    build([toy], Recipe("longer", "textures"), textures(6))
    with pytest.raises(LibraryError, match=r"Another library 'longer'.*another name"):
        take_in(file, "longer")
    with pytest.raises(LibraryError, match="over the limit of 0 MB"):
        take_in(file, "yet another", limit=1000)


def rezipped(file, change):
    """A ZIP file of which the members (name: bytes) are changed."""
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    change(members)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return made


def edit(**entries):
    def change(members):
        members["index.json"] = json.dumps(json.loads(members["index.json"]) | entries).encode()

    return change


def damage(members):
    name = next(name for name in members if name.startswith("shard"))
    members[name] = members[name][:-1] + b"?"


FORGED = {
    "a bit of a shard": damage,
    "no index": lambda members: members.pop("index.json"),
    "a shard missing": lambda members: members.pop(next(name for name in members if "shard" in name)),
    "an index of nonsense": lambda members: members.update({"index.json": b"[]"}),
    "a name with a bell": edit(name="a\x07"),
    "another schema": edit(schema=1),
    "a path": edit(files=[{"name": "../records-x.safetensors", "sha256": "0" * 64, "bytes": 5}]),
}


@pytest.mark.parametrize("change", FORGED.values(), ids=FORGED)
def test_a_forged_file_is_refused_and_leaves_nothing(home, toy, tmp_path, monkeypatch, change):
    [info] = build([toy], RECIPE, textures(5))
    file = rezipped(exported(info), change)
    place = tmp_path / "elsewhere"
    monkeypatch.setenv("EXPLORER_HOME", str(place))
    with pytest.raises(LibraryError, match="no library that this version can read, or it is damaged"):
        take_in(file)
    assert not content(place) if place.exists() else True
    assert not installed()


def forged(info, **changes):
    """An exported library whose only shard has other tensors, with an index that knows them."""

    def change(members):
        name = next(name for name in members if name.startswith("shard"))
        file = io.BytesIO(members.pop(name))
        tensors = load_tensors(file.getvalue())
        data = save({**tensors, **changes}, {"names": names_of(file.getvalue())})
        digest = hashlib.sha256(data).hexdigest()
        name = f"shard-{digest[:32]}.safetensors"
        members[name] = data
        index = json.loads(members["index.json"])
        index["files"][3] = {"name": name, "sha256": digest, "bytes": len(data)}
        members["index.json"] = json.dumps(index).encode()

    return rezipped(exported(info), change)


def names_of(data):
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length])["__metadata__"]["names"]


HOSTILE_TENSORS = {
    "labels out of range": {"labels": torch.full((5,), 99)},
    "too few labels": {"labels": torch.zeros(4, dtype=torch.int64)},
    "activations of another kind": {"activations": torch.zeros(5, 5, 2, 2)},
    "flat activations": {"activations": torch.zeros(5, 20).half()},
    "probabilities that are none": {"probabilities": torch.full((5, 3), torch.nan)},
    "thumbnails without colours": {"thumbnails": torch.zeros(5, 96, 96, 1, dtype=torch.uint8)},
    "other records than the index says": {"labels": torch.ones(5, dtype=torch.int64)},
}


@pytest.mark.parametrize("changes", HOSTILE_TENSORS.values(), ids=HOSTILE_TENSORS)
def test_hostile_tensors_are_refused(home, toy, tmp_path, monkeypatch, changes):
    [info] = build([toy], RECIPE, textures(5))
    file = forged(info, **changes)
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path / "elsewhere"))
    with pytest.raises(LibraryError, match="no library that this version can read, or it is damaged"):
        take_in(file)
    assert not installed()


def test_what_the_index_does_not_need_is_not_trusted(home, toy, tmp_path, monkeypatch):
    """Sums that do not belong to the records are made anew."""
    [info] = build([toy], RECIPE, textures(5))
    file = forged(info, checks=torch.zeros(5, 16, dtype=torch.uint8), means=torch.zeros(5, 5).half())
    whole = open_library(toy, "mine").means
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path / "elsewhere"))
    assert take_in(file).fingerprint == info.fingerprint
    library = open_library(toy, "mine")
    assert torch.equal(library.means, whole)
    library.activations(torch.arange(5))


def test_a_library_of_another_shape_is_refused(home, toy):
    """As of an index that claims weights to which its records do not belong."""
    backbone = toy_backbone()
    other = backbone.cut(backbone.layers[0].name)
    [info] = build([other], RECIPE, textures(5))
    entries = json.loads((info.folder / "index.json").read_text()) | {"space": toy.fingerprint}
    claimed = parse_index(json.dumps(entries).encode())
    shutil.copytree(info.folder, claimed.folder)
    (claimed.folder / "index.json").write_text(json.dumps(entries))
    with pytest.raises(LibraryError, match="not of this layer"):
        open_library(toy, "mine")


@pytest.mark.parametrize("data", [b"", b"PK", b"\x89PNG not a library" * 100])
def test_no_zip_file_is_refused(home, data):
    with pytest.raises(LibraryError, match="no library that this version can read"):
        take_in(io.BytesIO(data))


def test_the_least_recently_used_go_first_and_never_one_in_use(home, toy, monkeypatch):
    made = {
        name: build([toy], Recipe(name, "textures"), textures(5))[0]
        for name in ("old", "used", "older", "new")
    }
    for name, age in (("old", 5000), ("used", 5), ("older", 9000), ("new", 7000)):
        for file in ("index.json", "used"):
            path = made[name].folder / file
            path.touch()
            os.utime(path, (time.time() - age,) * 2)
    size = made["new"].bytes
    monkeypatch.setenv("EXPLORER_LIBRARY_GB", str(3.5 * size / 1e9))
    assert [info.name for info in tidy([made["new"]])] == ["older"]
    monkeypatch.setenv("EXPLORER_LIBRARY_GB", str(0.5 * size / 1e9))
    assert [info.name for info in tidy([made["new"]])] == ["old"]
    assert [info.name for info in installed()] == ["new", "used"]
    for wrong in ("much", "-1", "0"):
        monkeypatch.setenv("EXPLORER_LIBRARY_GB", wrong)
        with pytest.raises(LibraryError, match="EXPLORER_LIBRARY_GB is"):
            tidy([made["new"]])


@pytest.fixture(scope="module")
def library():
    generator = np.random.default_rng(1)
    labels = generator.integers(0, 8, 300)
    chances = np.full((300, 8), 1e-5, np.float32)
    chances[np.arange(300), labels] = generator.choice([0.7, 0.8, 0.9, 0.95, 0.99], 300)
    chances[:, 0] = np.where(labels == 0, chances[:, 0], generator.choice([1e-6, 9e-5, 1e-3, 0.1], 300))
    activations = torch.from_numpy(generator.normal(size=(300, 6, 2, 2))).half()
    return hand_made(chances, labels, activations=activations)


def counted_library():
    """300 records that all qualify, of seven classes beside the target's, of numbers that no generator draws."""
    rows, channels = np.arange(300)[:, None], np.arange(6)
    labels = rows[:, 0] * 5 % 8
    chances = np.full((300, 8), 1e-6, np.float32)
    chances[rows[:, 0], labels] = 0.9
    activations = (rows + 11) * (rows + 7) * (channels + 3) * 37 % 1009 / 1024
    return hand_made(chances, labels, activations=torch.from_numpy(activations)[:, :, None, None].half())


def shuffled(rows, seed):
    """The shuffle of Fisher and Yates, from the first place on."""
    stream, rows = np.random.RandomState(seed), list(rows)
    for place in range(len(rows) - 1):
        other = place + int(stream.randint(2**32, dtype=np.uint32)) % (len(rows) - place)
        rows[place], rows[other] = rows[other], rows[place]
    return rows


def by_class(rows, labels):
    """How many of the same class stand before each row, and its place."""
    return {
        row: (sum(labels[other] == labels[row] for other in rows[:place]), place)
        for place, row in enumerate(rows)
    }


DRAWN = {
    0: {
        "random": [138, 115, 63, 6, 95, 134, 230, 195, 171, 58],
        "stratified": [138, 115, 63, 6, 68, 21, 97, 95, 134, 195],
        "medoids": [4, 171, 189, 174, 148, 106, 267, 252, 91, 123],
    },
    3: {
        "random": [231, 131, 68, 193, 250, 103, 7, 237, 274, 121],
        "stratified": [231, 131, 68, 193, 250, 237, 54, 103, 274, 121],
        "medoids": [4, 113, 95, 133, 45, 221, 148, 277, 106, 267],
    },
}
"""The first of the counted library by seed and rule, as drawn once."""


class Largest(TorchDispatchMode):
    """The bytes of the largest tensor that is made meanwhile."""

    bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and not made._is_view():
            self.bytes = max(self.bytes, made.nbytes)
        return made


class TestRules:
    """The selection rules, against loops over records of given numbers."""

    @staticmethod
    def usable(library, limit):
        return [
            row
            for row in range(len(library))
            if library.labels[row] != 0
            and library.confidence[row] >= 0.8
            and library.chances(0)[row] <= limit
        ]

    def test_the_most_confident_first(self, library):
        rows = self.usable(library, 1)
        found = select(library, 0, rule="confident").indices.tolist()
        assert sorted(found[: len(rows)]) == rows
        confidences = library.confidence[found[: len(rows)]].tolist()
        assert confidences == sorted(confidences, reverse=True)
        assert sorted(found) == [row for row in range(300) if library.labels[row] != 0]

    def test_one_of_each_class_in_turn(self, library):
        rows = self.usable(library, np.float32(1e-4))
        found = select(library, 0, rule="stratified", seed=4).indices.tolist()[: len(rows)]
        assert sorted(found) == rows
        labels = library.labels[found].tolist()
        classes = len(set(labels))
        assert set(labels[:classes]) == set(labels[classes : 2 * classes]) == set(labels)
        assert found != select(library, 0, rule="stratified", seed=5).indices.tolist()[: len(rows)]

    @pytest.mark.parametrize("limit", [1e-6, 1e-3, 1.0])
    def test_the_limit_of_the_target_probability(self, library, limit):
        rows = self.usable(library, np.float32(limit))
        found = select(library, 0, limit=limit)
        assert found.qualified == len(rows)
        assert found.fallback == (len(rows) < 30)
        if not found.fallback:
            assert sorted(found.indices.tolist()[: len(rows)]) == rows

    @pytest.mark.parametrize(("rule", "sign"), [("nearest", -1), ("farthest", 1)])
    def test_by_likeness(self, library, rule, sign):
        point = np.random.default_rng(2).normal(size=6)
        means = library._activations[0].double().mean((2, 3)).half().double().numpy()
        cosine = means @ point / np.linalg.norm(means, axis=1) / np.linalg.norm(point)
        expected = [row for row in np.argsort(sign * cosine, kind="stable") if library.labels[row] != 0]
        subject = Subject("none", torch.zeros(32, dtype=torch.uint8), torch.from_numpy(point))
        assert select(library, 0, rule=rule, subject=subject).indices.tolist() == expected

    def test_the_middle_of_clusters_first(self, library):
        """Thirty heaps of which each has one record exactly in its middle."""
        generator = np.random.default_rng(3)
        middles = np.eye(30)[np.arange(120) % 30]
        noise = generator.normal(scale=0.05, size=(120, 30)) * (np.arange(120) >= 30)[:, None]
        noise[60:90] = -noise[30:60] - noise[90:]
        chances = np.tile(np.float32([1e-6, 0.9]), (120, 1))
        heaps = hand_made(
            chances, np.ones(120, int), activations=torch.from_numpy(middles + noise)[:, :, None, None].half()
        )
        found = select(heaps, 0, rule="medoids").indices.tolist()
        assert sorted(found) == list(range(120))
        assert {row % 30 for row in found[:30]} == set(range(30))
        assert sorted(found[:30]) == list(range(30))

    @pytest.mark.parametrize("seed", DRAWN)
    def test_a_seed_draws_the_same_on_any_machine(self, seed):
        """What numpy's Mersenne Twister shuffles, whose stream never changes (NEP 19); the first by number too."""
        library = counted_library()
        rows = shuffled(np.flatnonzero(library.labels != 0).tolist(), seed)
        drawn = select(library, 0, seed=seed).indices.tolist()
        in_turn = select(library, 0, rule="stratified", seed=seed).indices.tolist()
        assert drawn == rows
        assert drawn[:10] == DRAWN[seed]["random"]
        labels = library.labels.tolist()
        assert in_turn == sorted(rows, key=lambda row: by_class(rows, labels)[row])
        assert in_turn[:10] == DRAWN[seed]["stratified"]
        assert select(library, 0, rule="medoids", seed=seed).indices.tolist()[:10] == DRAWN[seed]["medoids"]

    def test_where_a_middle_does_not_qualify_the_next_of_its_cluster_does(self):
        """Thirty far heaps of 4 to 8 records: of each of them the qualified record that is nearest to its mean, the
        largest heaps first, then the second nearest."""
        generator = np.random.default_rng(6)
        heap = generator.permutation(np.repeat(np.arange(30), 4 + np.arange(30) // 6))
        count = len(heap)
        activations = 5 * np.eye(30)[heap] + generator.normal(scale=0.05, size=(count, 30))
        chances = np.tile(np.float32([1e-6, 0.9]), (count, 1))
        library = hand_made(
            chances, np.ones(count, int), activations=torch.from_numpy(activations)[:, :, None, None].half()
        )
        means = library.means.double().numpy()
        directions = means / np.linalg.norm(means, axis=1)[:, None]
        middles = np.stack([directions[heap == one].mean(0) for one in range(30)])
        distances = ((directions - middles[heap]) ** 2).sum(1)
        nearest = [min(np.flatnonzero(heap == one), key=lambda row: distances[row]) for one in range(30)]
        chances[nearest[::2], 0] = 0.05
        library = replace(library, _classes=torch.from_numpy(chances).T)

        found = select(library, 0, rule="medoids", seed=1)
        assert found.qualified == count - 15
        inward = [
            [row for row in np.argsort(distances) if heap[row] == one and row not in nearest[::2]]
            for one in range(30)
        ]
        first, second = found.indices[:30].tolist(), found.indices[30:60].tolist()
        assert sorted(first) == sorted(rows[0] for rows in inward)
        assert sorted(second) == sorted(rows[1] for rows in inward)
        sizes = np.bincount(heap)[heap[first]]
        assert sizes.tolist() == sorted(sizes, reverse=True)

    def test_of_two_alone_in_a_cluster_the_first(self):
        """They are equally near to their middle, but for the rounding."""
        generator = np.random.default_rng(7)
        activations = np.repeat(np.eye(30), 2, 0) * 5 + generator.normal(scale=0.02, size=(60, 30))
        chances = np.tile(np.float32([1e-6, 0.9]), (60, 1))
        pairs = hand_made(
            chances, np.ones(60, int), activations=torch.from_numpy(activations)[:, :, None, None].half()
        )
        found = select(pairs, 0, rule="medoids").indices.tolist()
        assert set(found[:30]) == set(range(0, 60, 2))

    def test_clusters_follow_the_seed_alone(self, library):
        draws = [select(library, 0, rule="medoids", seed=seed).indices.tolist() for seed in range(4)]
        torch.manual_seed(123)
        again = replace(library)
        assert [select(again, 0, rule="medoids", seed=seed).indices.tolist() for seed in range(4)] == draws
        assert len({frozenset(draw[:30]) for draw in draws}) == 4

    def test_clusters_are_those_of_heaps(self):
        """Far heaps of different sizes, against their means in numpy."""
        generator = np.random.default_rng(4)
        heap = generator.integers(0, 7, 400)
        activations = np.eye(12)[heap] + generator.normal(scale=0.05, size=(400, 12))
        library = hand_made(
            np.ones((400, 1)),
            np.zeros(400, int),
            activations=torch.from_numpy(activations)[:, :, None, None].half(),
        )
        labels, distances = (found.numpy() for found in clusters(library, 7, 5))
        means = library.means.double().numpy()
        directions = means / np.linalg.norm(means, axis=1)[:, None]
        assert len(set(zip(heap, labels, strict=True))) == len(set(labels)) == 7
        for one in range(7):
            members = directions[heap == one]
            expected = ((members - members.mean(0)) ** 2).sum(1)
            assert distances[heap == one] == pytest.approx(expected, abs=1e-9)

    def test_of_fewer_different_records_than_clusters(self):
        same = hand_made(np.ones((9, 1)), np.zeros(9, int), activations=torch.ones(9, 4, 1, 1).half())
        labels, distances = clusters(same, 5, 0)
        assert labels.tolist() == [0] * 9
        assert distances.tolist() == pytest.approx([0] * 9, abs=1e-12)

    @pytest.mark.parametrize("rule", libraries.RULES)
    def test_no_rule_makes_another_copy_of_the_means(self, rule):
        """Nor in another precision: a large library is to stay small in memory."""
        chances = np.tile(np.float32([1e-6, 0.9]), (2000, 1))
        activations = torch.rand(2000, 400, 1, 1, generator=torch.Generator().manual_seed(0)).half()
        library = hand_made(chances, np.ones(2000, int), activations=activations)
        subject, held = replace(but("none"), means=torch.ones(400)), library.means.nbytes
        with Largest() as largest:
            select(library, 0, rule=rule, subject=subject)
        assert 0 < largest.bytes < held

    def test_near_duplicates_are_no_references(self, home, toy, tmp_path):
        picture = sample("chelsea").image
        picture.resize((300, 200)).save(tmp_path / "small.jpg", quality=70)
        picture.point(lambda value: min(255, int(value * 1.1))).save(tmp_path / "light.png")
        picture.rotate(90).save(tmp_path / "turned.png")
        for name in ("coffee", "rocket"):
            sample(name).image.save(tmp_path / f"{name}.png")
        backbone = toy_backbone(preprocessing=replace(EIGHT, resize=64, crop=(64, 64)))
        cut = backbone.cut()
        build([cut], RECIPE, sources_of(cut, tmp_path))
        library = open_library(cut, "mine")
        library = replace(library, labels=torch.ones(len(library), dtype=torch.int64))
        image = backbone.preprocessing.tensor(sample("chelsea"))
        subject = Subject.seen("another digest", image, cut.trunk(image[None])[0], backbone.preprocessing)
        chosen = select(library, 0, rule="lowest", subject=subject).indices.tolist()
        assert sorted(library.ids[index] for index in chosen) == ["coffee.png", "rocket.png", "turned.png"]


def test_marks_are_the_signs_of_differences():
    picture = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 16, 17, 3), np.uint8))
    grey = picture[0].double().mean(2).numpy()
    bits = np.unpackbits(marks(picture)[0].numpy()).reshape(16, 16)
    assert np.array_equal(bits, grey[:, :-1] > grey[:, 1:])


class TestMeanwhile:
    """What another writer does at the same time, or has begun, is not undone."""

    @staticmethod
    @contextmanager
    def another_writes(folder):
        """Another process holds the lock of a library."""
        script = (
            "import sys; from filelock import FileLock; lock = FileLock(sys.argv[1]); lock.acquire(); "
            "print('held', flush=True); sys.stdin.read()"
        )
        folder.parent.mkdir(parents=True, exist_ok=True)
        holder = subprocess.Popen(
            [sys.executable, "-c", script, f"{folder}.lock"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            assert holder.stdout.readline() == "held\n"
            yield
        finally:
            holder.communicate()

    def test_nothing_waits_but_a_build_which_can_be_stopped(self, home, toy):
        [info] = build([toy], RECIPE, textures(5))
        file = exported(info)

        with self.another_writes(info.folder):
            for deed in (lambda: delete(info), lambda: take_in(file)):
                with pytest.raises(LibraryError, match="being written just now"):
                    deed()
            with pytest.raises(LibraryError):
                build([toy], RECIPE, textures(6), stopping(0))
        check(info)

    def test_a_build_that_goes_on_is_not_unfinished_nor_given_up(self, home, toy):
        with pytest.raises(LibraryError):
            build([toy], RECIPE, textures(5), stopping(1))
        [begun] = unfinished()
        with self.another_writes(store.folder_of(toy, "mine")):
            assert not unfinished()
            with pytest.raises(LibraryError, match="being written just now"):
                forget(begun)
        assert unfinished() == [begun]

    def test_neither_an_import_nor_a_merge_takes_the_place_of_an_unfinished_build(self, home, toy):
        [info] = build([toy], Recipe("whole", "textures"), textures(5))

        with pytest.raises(LibraryError):
            build([toy], RECIPE, textures(200), stopping(131))
        before = content(home)
        for deed in (lambda: take_in(exported(info), "mine"), lambda: merge([info], RECIPE)):
            with pytest.raises(LibraryError, match=r"'mine' .* is not finished"):
                deed()
        assert content(home) == before

    def test_what_was_made_anew_is_not_deleted(self, home, toy):
        [info] = build([toy], RECIPE, textures(5))
        [new] = build([toy], RECIPE, textures(6))
        with pytest.raises(LibraryError, match="made anew meanwhile"):
            delete(info)
        check(new)

    def test_an_interrupted_merge_leaves_the_former_library(self, home, toy, monkeypatch):
        parts = [build([toy], Recipe(f"part {n}", "textures"), textures(5 + n))[0] for n in range(2)]
        former = merge(parts[:1], RECIPE)

        def fail(*_):
            raise InterruptedError

        with monkeypatch.context() as patch:
            patch.setattr(Path, "hardlink_to", fail)
            patch.setattr("shutil.copyfile", fail)
            with pytest.raises(LibraryError):
                merge(parts, RECIPE)
        check(former)
        assert open_library(toy, "mine").info == former


def test_an_import_mends_a_damaged_library(home, toy):
    [info] = build([toy], RECIPE, textures(5))
    file = exported(info)
    (info.folder / info.shards[0].name).write_bytes(b"damaged")
    assert take_in(file) == info
    check(info)
    assert not unfinished()


@pytest.mark.parametrize("name", ["built-in", "on-the-fly"])
def test_no_import_takes_a_name_of_the_explorer(home, toy, name):
    [info] = build([toy], RECIPE, textures(5))
    with pytest.raises(LibraryError, match="that the explorer makes"):
        take_in(rezipped(exported(info), edit(name=name)), None)


@pytest.mark.parametrize("source", ["\ud800", "x\x1b[2J", "x" * 5000])
def test_an_index_says_only_what_can_be_shown(home, toy, source):
    [info] = build([toy], RECIPE, textures(5))
    file = rezipped(exported(info), edit(source=source))
    delete(info)
    with pytest.raises(LibraryError, match="no library that this version can read"):
        take_in(file)


def test_an_empty_build_of_several_layers_leaves_nothing(home):
    backbone = toy_backbone()
    cuts = [backbone.cut(layer.name) for layer in backbone.layers]
    with pytest.raises(LibraryError, match="would be empty"):
        build(cuts, Recipe("mine", "textures", keep="confident"), textures(3))
    assert not unfinished()
    assert not content(home)


def test_a_library_of_many_files_holds_none_open(home, toy, monkeypatch, photos):
    [info] = build([toy], RECIPE, sources_of(toy, photos))
    whole = open_library(toy, "mine").activations(torch.arange(info.records))
    monkeypatch.setattr(store, "_HELD", 1)
    library = open_library(toy, "mine")
    assert torch.equal(library.activations(torch.arange(info.records)), whole)
    delete(info)
    with pytest.raises(LibraryError, match="is missing or damaged"):
        library.activations(torch.arange(2))


def test_what_never_became_a_library_is_tidied_away(home, toy):
    orphan = store.folder_of(toy, "gone")
    orphan.mkdir(parents=True)
    (orphan / "shard-0.safetensors").write_bytes(b"left over")
    tidy([])
    assert not orphan.exists()


def test_balanced_with_more_classes_than_a_round_fills(home, toy, photos):
    names = sorted(path.name for path in photos.glob("*.png"))[:60]
    entries = [
        Entry(name, photos / name, (0 if number < 40 else 1 + number % 2,))
        for number, name in enumerate(names)
    ]
    build([toy], Recipe("mine", "folder", size=20, balanced=True), from_entries(entries))
    counts = sorted(open_library(toy, "mine").labels.bincount().tolist())
    assert counts == [6, 7, 7]

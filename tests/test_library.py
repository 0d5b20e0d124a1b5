"""Libraries on disk: made, found again, mended or refused; their records and the references chosen of them."""

import json
import os
import shutil
import threading
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from papers.network import Network
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

from explorer.backbones import Backbone, Preprocessing
from explorer.dataset import DatasetError, TableError, open_dataset
from explorer.images import SAMPLES, Picture, load, sample
from explorer.library import (
    BUILT_IN,
    ON_THE_FLY_SIZE,
    LibraryError,
    Recipe,
    Subject,
    build,
    from_entries,
    from_picture,
    installed,
    open_library,
    open_or_build,
    select,
    unfinished,
)
from explorer.library.on_the_fly import sources
from explorer.library.shard import Shard
from explorer.library.store import in_memory

building = import_module("explorer.library.build")
EIGHT = Preprocessing(8, (8, 8), "bilinear", (0.5,) * 3, (0.25,) * 3)


def toy_backbone(seed=0, preprocessing=EIGHT):
    """Two layers and three classes, for what does not depend on the network."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(
            *(nn.Conv2d(3, 4, 2, stride=2), nn.ReLU(), nn.Conv2d(4, 5, 2, stride=2), nn.ReLU()),
            *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)),
        )
    return Backbone("toy", model, preprocessing, ("a", "b", "c"))


@pytest.fixture(scope="module")
def toy():
    return toy_backbone().cut()


@pytest.fixture(scope="module")
def pristine(tmp_path_factory, lite0):
    """The built-in library of Lite0, made in a home of its own."""
    folder = tmp_path_factory.mktemp("pristine")
    steps = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLORER_HOME", str(folder))
        patch.setattr(building, "SHARD", 64)  # so that there are two
        library = open_or_build(lite0.cut(), progress=lambda *step: steps.append(step))
    return SimpleNamespace(home=folder, library=library, steps=steps)


@pytest.fixture
def folder(tmp_path):
    """Four photographs in all readable formats, and a file of another kind."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for name, identifier in (
        ("b.png", "chelsea"),
        ("a.JPG", "coffee"),
        ("d.webp", "rocket"),
        ("c.jpeg", "china"),
    ):
        sample(identifier).image.resize((300, 240)).save(folder / name)
    (folder / "notes.txt").write_text("no picture")
    return folder


def mine(cut, folder, name="mine", labels=None):
    """A library of a folder, built and opened."""
    entries = open_dataset(folder, classes=cut.backbone.labels, labels=labels)
    build([cut], Recipe(name, "folder"), from_entries(entries))
    return open_library(cut, name)


def stopping(count, error=InterruptedError):
    """A progress that stops a build at so many pictures."""

    def progress(done, total, written):
        if done >= count:
            raise error

    return progress


def chances(library):
    """(n, C), the probability of every class on every record."""
    return torch.stack([library.chances(target) for target in range(len(library._class_checks))], 1)


def files(home):
    """Every file of a home; a file written again has another inode or time."""
    stats = {
        path: path.stat()
        for path in home.rglob("*")
        if path.is_file() and path.suffix != ".lock" and path.name != "used"
    }
    return {str(path): (stat.st_ino, stat.st_mtime_ns, stat.st_size) for path, stat in stats.items()}


def one_sentence(refusal):
    text = str(refusal.value)
    return text.endswith((".", '"')) and "\n" not in text and "Traceback" not in text


def the(home, pattern):
    return min(home.rglob(pattern))


def read_all(library):
    """Everything that a selection and a method read."""
    for target in range(len(library._class_checks)):
        library.chances(target)
    return library.activations(torch.arange(len(library))), library.means


def flip(kind):
    """Changes one bit of the content of a file."""

    def damage(home):
        path = the(home, f"{kind}-*.safetensors")
        data = bytearray(path.read_bytes())
        data[-3] ^= 1
        path.write_bytes(data)

    return damage


def truncate(home):
    path = the(home, "shard-*.safetensors")
    path.write_bytes(path.read_bytes()[:-1])


def delete(home):
    the(home, "shard-*.safetensors").unlink()


def garbage(home):
    the(home, "index.json").write_bytes(b"\xff\x00 no JSON {")


def change(**entries):
    """An index that is JSON but not what was written."""

    def damage(home):
        index = the(home, "index.json")
        index.write_text(json.dumps(json.loads(index.read_text()) | entries))

    return damage


FLIPPED = {f"bit of {kind}": flip(kind) for kind in ("records", "classes", "means")}
DAMAGES = FLIPPED | {"truncated": truncate, "shard deleted": delete, "garbage index": garbage}
INDEXES = {
    "empty list of files": change(files=[]),
    "files a number": change(files=5),
    "files without digests": change(files=[{"name": "shard-00000.safetensors"}]),
    "skipped a number": change(skipped=3),
    "index a list": lambda home: the(home, "index.json").write_text("[]"),
    "future schema": change(schema=99),
    "unknown entry": change(colour="red"),
    "file elsewhere": change(files=[{"name": "../../../x.safetensors", "sha256": "0" * 64, "bytes": 1}]),
}


def test_the_built_in_library_is_made_on_first_use(pristine):
    library, done = pristine.library, [step[0] for step in pristine.steps]
    assert len(library) == library.info.records == 20 * len(SAMPLES) == 120
    assert len(set(library.ids)) == 120
    assert set(library.digests) == {sample(identifier).digest for identifier in SAMPLES}
    assert done == sorted(set(done))
    assert len(done) > 5
    assert pristine.steps[-1] == (120, 120)


def test_the_built_in_library_is_found_again(pristine, home, lite0):
    shutil.copytree(pristine.home, home)
    before = files(home)
    again = open_or_build(lite0.cut(), progress=lambda *step: pytest.fail("built again"))
    assert files(home) == before
    assert again.info == pristine.library.info
    assert again.ids == pristine.library.ids


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_built_in_library_is_made_again(pristine, home, lite0, damage):
    shutil.copytree(pristine.home, home)
    damage(home)
    with pytest.raises(LibraryError):
        read_all(open_library(lite0.cut(), BUILT_IN))
    mended, whole = open_or_build(lite0.cut()), pristine.library
    some = torch.tensor([0, 63, 64, 119])
    assert mended.ids == whole.ids
    assert torch.equal(chances(mended), chances(whole))
    assert torch.equal(mended.activations(some), whole.activations(some))


@pytest.mark.parametrize("damage", INDEXES.values(), ids=INDEXES)
def test_a_built_in_library_with_a_wrong_index_is_made_again(home, toy, damage):
    open_or_build(toy)
    damage(home)
    assert len(open_or_build(toy)) == 120


@pytest.mark.parametrize("damage", (DAMAGES | INDEXES).values(), ids=DAMAGES | INDEXES)
def test_a_damaged_library_of_the_user_is_refused_and_kept(home, toy, folder, damage):
    mine(toy, folder)
    damage(home)
    before = files(home)
    with pytest.raises(LibraryError, match=r"(?i)'mine'.*build|build the library") as refusal:
        read_all(open_or_build(toy, "mine"))
    assert one_sentence(refusal)
    assert files(home) == before


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_building_again_mends_what_is_damaged_alone(home, toy, folder, damage):
    whole = mine(toy, folder)
    expected = [tensor.clone() for tensor in read_all(whole)]
    before = {path: path.read_bytes() for path in home.rglob("*.*") if path.is_file()}
    damage(home)
    mended = mine(toy, folder)
    assert {path: path.read_bytes() for path in home.rglob("*.*") if path.is_file()} == before
    assert mended.info == whole.info
    for one, other in zip(read_all(mended), expected, strict=True):
        assert torch.equal(one, other)


def test_a_shard_that_is_cut_short_after_opening_is_refused(home, toy, folder):
    library = mine(toy, folder)
    os.truncate(the(home, "shard-*.safetensors"), 100)
    with pytest.raises(LibraryError, match="missing or damaged: build the library again"):
        library.thumbnail(len(library) - 1)


@pytest.mark.parametrize(
    "damage", [*(DAMAGES | INDEXES).values(), change(name=5)], ids=[*DAMAGES, *INDEXES, "name"]
)
def test_the_list_survives_a_damaged_library(home, toy, folder, damage):
    mine(toy, folder)
    damage(home)
    other = mine(toy, folder, "zz other").info
    assert other in installed()
    assert open_library(toy, "zz other").info == other


def test_a_library_belongs_to_weights_layer_and_preprocessing(home, toy, folder):
    backbone = toy_backbone()
    layers = [layer.name for layer in backbone.layers]
    elsewhere = [
        backbone.cut(layers[0]),
        toy_backbone(seed=1).cut(),
        toy_backbone(preprocessing=replace(EIGHT, resize=9)).cut(),
        toy_backbone(preprocessing=replace(EIGHT, mean=(0.4,) * 3)).cut(),
    ]
    mine(toy, folder)
    assert open_library(backbone.cut(), "mine").info.layer == layers[-1]  # the same, loaded again
    assert len({toy.fingerprint, *(cut.fingerprint for cut in elsewhere)}) == 5
    for cut in elsewhere:
        with pytest.raises(LibraryError, match=r"no library 'mine' for toy at .*library build") as refusal:
            open_or_build(cut, "mine")
        assert one_sentence(refusal)


def test_records_are_what_the_network_says_of_the_photographs(home, lite0, folder, original):
    library = mine(lite0.cut(), folder)
    network = Network(original("efficientnet_lite0"), "bn2")
    assert library.ids == ("a.JPG", "b.png", "c.jpeg", "d.webp")
    found = library.activations(torch.arange(4))
    assert found.dtype == torch.float16
    for row, name in enumerate(library.ids):
        image = lite0.preprocessing.tensor(load(folder / name))
        expected = network.activation(image)
        assert found[row].double().numpy() == pytest.approx(expected, rel=2**-10, abs=1e-4)
        probabilities = network.probabilities(image)
        assert chances(library)[row].numpy() == pytest.approx(probabilities, abs=1e-5)
        assert library.labels[row] == probabilities.argmax()


def test_the_fingerprint_is_that_of_the_content(home, toy, folder):
    """Shards whose header came out in another order made the same library another one."""
    prints = {mine(toy, folder, name).info.fingerprint for name in "abcdefgh"}
    assert len(prints) == 1
    (folder / "a.JPG").unlink()
    assert mine(toy, folder).info.fingerprint not in prints


def test_thumbnails_show_what_the_network_saw(home, lite0, tmp_path):
    colours = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8).repeat(60, 0).repeat(60, 1)
    Image.fromarray(colours).save(tmp_path / "wide.png")  # 360 x 240, of which the network sees 210 x 210
    thumbnail = mine(lite0.cut(), tmp_path).thumbnail(0).numpy()
    crop = colours[15:225, 75:285].astype(float)
    assert thumbnail.shape == (96, 96, 3)
    assert thumbnail.dtype == np.uint8
    for rows in (slice(0, 105), slice(105, 210)):
        for columns in (slice(0, 105), slice(105, 210)):
            seen = thumbnail[rows.start * 96 // 210 : rows.stop * 96 // 210]
            seen = seen[:, columns.start * 96 // 210 : columns.stop * 96 // 210]
            assert seen.mean((0, 1)) == pytest.approx(crop[rows, columns].mean((0, 1)), abs=3)


def test_labels_of_a_file_stand_before_predictions(home, toy, folder, tmp_path):
    guessed = mine(toy, folder).labels.tolist()
    given = (guessed[1] + 1) % 3
    csv = tmp_path / "labels.csv"
    csv.write_text(f"class_index,file\n{given},b.png\n1,elsewhere.png\n")
    library = mine(toy, folder, labels=csv)
    assert library.labels.tolist() == [guessed[0], given, *guessed[2:]]
    assert library.info.classes == len(set(library.labels.tolist()))
    assert guessed == library.predicted.tolist()


def test_labels_of_other_pictures_are_refused(toy, folder, tmp_path):
    csv = tmp_path / "labels.csv"
    csv.write_text("file,class_index\nelsewhere.jpg,1\n")
    with pytest.raises(TableError, match=r"labels\.csv names none of the pictures"):
        mine(toy, folder, labels=csv)


@pytest.mark.parametrize(
    "text",
    [
        "name,class_index\na.JPG,1\n",
        "file,label\na.JPG,1\n",
        "file,class_index\na.JPG,cat\n",
        "file,class_index\na.JPG,1.5\n",
        "file,class_index\na.JPG\n",
        "file,class_index\n\xff,1\n",
        "file,class_index\n" + "a" * 200_000 + ",1\n",
    ],
    ids=["no file", "no class", "a word", "a fraction", "a short row", "not UTF-8", "an endless field"],
)
def test_a_bad_labels_file_is_refused_by_name(toy, folder, tmp_path, text):
    csv = tmp_path / "labels.csv"
    csv.write_bytes(text.encode("latin-1"))
    with pytest.raises(TableError, match=r"labels\.csv cannot be read as labels") as refusal:
        mine(toy, folder, labels=csv)
    assert one_sentence(refusal)


def test_a_missing_labels_file_is_refused_by_name(toy, folder, tmp_path):
    for path in (tmp_path / "labels.csv", tmp_path):
        with pytest.raises(TableError, match=str(path)):
            mine(toy, folder, labels=path)


@pytest.mark.parametrize("label", [-1, 3])
def test_a_label_that_is_no_class_is_refused_by_name(home, toy, folder, tmp_path, label):
    csv = tmp_path / "labels.csv"
    csv.write_text(f"file,class_index\nc.jpeg,{label}\n")
    with pytest.raises(DatasetError, match=f"c.jpeg has the label {label}, .* 0 to 2"):
        mine(toy, folder, labels=csv)
    assert not installed()


def test_unreadable_files_are_skipped_and_listed(home, toy, folder):
    (folder / "c.jpeg").write_bytes((folder / "c.jpeg").read_bytes()[:500])
    (folder / "e.png").write_bytes(b"")
    (folder / "f.png").mkdir()
    library = mine(toy, folder)
    assert library.ids == ("a.JPG", "b.png", "d.webp")
    assert [reason.split()[0] for reason in library.info.skipped] == ['"c.jpeg"', '"e.png"', '"f.png"']
    assert library.info in installed()


def test_a_folder_without_pictures_is_refused(home, toy, folder, tmp_path):
    empty = tmp_path / "empty"
    empty.mkdir()
    for path, words in ((empty, "empty holds no"), (tmp_path / "none", "none is no folder and no file")):
        with pytest.raises(DatasetError, match=words):
            mine(toy, path)
    (empty / "a.png").write_bytes(b"x")
    with pytest.raises(LibraryError, match=r"'mine' would be empty.*a\.png"):
        mine(toy, empty)
    assert not installed()


def test_activations_are_read_in_any_order_across_shards(pristine):
    stored = [load_file(path) for path in sorted(pristine.home.rglob("shard-*.safetensors"))]
    shards = [one["activations"] for one in stored]
    ids = [
        identifier
        for path in sorted(pristine.home.rglob("shard-*"))
        for identifier in json.loads(safe_open(path, "pt").metadata()["names"])["ids"]
    ]
    where = {identifier: row for row, identifier in enumerate(ids)}
    whole = torch.cat(shards)[[where[identifier] for identifier in pristine.library.ids]]
    assert pristine.library.ids == tuple(sorted(where))
    assert len(shards) > 1
    assert whole.shape == (120, 1280, 7, 7)
    border = len(shards[0])
    shuffled = torch.randperm(120, generator=torch.Generator().manual_seed(0))
    for indices in (torch.tensor([119, border, 0, border - 1, border, 1]), shuffled):
        assert torch.equal(pristine.library.activations(indices), whole[indices])


def test_files_are_tensors_and_json_only(pristine):
    """Pickles would run code of whoever made a library."""
    found = [path for path in pristine.home.rglob("*") if path.is_file()]
    assert {path.suffix for path in found} == {".json", ".jsonl", ".safetensors", ".lock", ""}
    for path in found:
        data = path.read_bytes()
        if path.suffix == ".json":
            assert json.loads(data)["name"] == BUILT_IN
        elif path.suffix == ".jsonl":
            assert all(json.loads(line) for line in data.splitlines())
        elif path.suffix == ".safetensors":
            start = 8 + int.from_bytes(data[:8], "little")
            header = json.loads(data[8:start])
            header.pop("__metadata__")
            assert start + max(tensor["data_offsets"][1] for tensor in header.values()) == len(data)
        else:
            assert not data


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_interrupted_build_leaves_the_former_library(home, toy, folder, error):
    former = mine(toy, folder).info
    sample("motorcycle").image.save(folder / "0.png")
    sources = from_entries(open_dataset(folder, classes=toy.backbone.labels))

    with pytest.raises(error):
        build([toy], Recipe("mine", "folder"), sources, stopping(1, error))
    assert [begun.name for begun in unfinished()] == ["mine"]
    assert open_library(toy, "mine").info == former
    assert mine(toy, folder).ids[0] == "0.png"
    assert not unfinished()


def test_four_builders_at_once_make_one_valid_library(home, toy):
    opened, start = [], threading.Barrier(4)

    def work():
        start.wait()
        opened.append(open_or_build(toy))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(library) for library in opened] == [120] * 4
    assert len(installed()) == len(list((home / "libraries").glob("*/"))) == 1
    assert len(open_library(toy, BUILT_IN)) == 120


@pytest.mark.parametrize("name", ["../../x", "a/b", "..", "/tmp/x", "*", "index.json", "é" * 60])
def test_a_strange_name_is_only_a_name(home, toy, folder, tmp_path, name):
    before = set(tmp_path.rglob("*"))
    assert mine(toy, folder, name).info.name == name
    assert [info.name for info in installed()] == [name]
    written = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(home) for path in written)
    assert {path.parent for path in written if path.is_dir()} == {tmp_path, home, home / "libraries"}


HOSTILE = ["", "  ", "x" * 61, "a\nb", "a\0b", "a\x1b[2J", "\udcff"]


@pytest.mark.parametrize("name", HOSTILE, ids=ascii)
def test_a_hostile_name_is_refused(home, toy, folder, name):
    with pytest.raises(LibraryError, match="cannot name a library") as refusal:
        mine(toy, folder, name)
    assert one_sentence(refusal)
    assert not home.exists()


@pytest.mark.parametrize("name", [*HOSTILE, "x" * 100_000], ids=lambda name: ascii(name[:61]))
def test_a_library_of_a_hostile_name_is_not_found(home, toy, name):
    with pytest.raises(LibraryError, match="There is no library") as refusal:
        open_or_build(toy, name)
    assert one_sentence(refusal)
    assert len(str(refusal.value)) < 400


def random_library(confident=100):
    """200 records of 6 classes, some exactly at the limits of the rule, and one digest twice."""
    generator = np.random.default_rng(0)
    labels = generator.integers(0, 6, 200)
    labels[:10] = 1
    probabilities = generator.dirichlet(np.ones(6), 200).astype(np.float32)
    for row in range(confident):
        rest = generator.choice([1e-6, 5e-5, 1e-4, 1.1e-4, 1e-3], 6)
        top = generator.choice([0.79, 0.8, 0.95])
        probabilities[row] = rest
        probabilities[row, labels[row] if row % 5 else generator.integers(0, 6)] = top
    digests = tuple(f"digest {row // 2}" for row in range(200))
    ids = tuple(map(str, range(200)))
    return hand_made(probabilities, labels, ids, digests)


def hand_made(probabilities, labels, ids=None, digests=None, activations=None):
    """A library in memory of given numbers."""
    count = len(labels)
    shard = Shard(
        ids or tuple(map(str, range(count))),
        digests or tuple(f"digest {row}" for row in range(count)),
        torch.zeros(count, 1, 1, 1).half() if activations is None else activations,
        torch.as_tensor(probabilities, dtype=torch.float32),
        torch.as_tensor(labels),
        torch.zeros(count, 1, 1, 3, dtype=torch.uint8),
    )
    layer = SimpleNamespace(name="layer")
    cut = SimpleNamespace(backbone=SimpleNamespace(name="none"), layer=layer, fingerprint="space")
    return in_memory(cut, "by hand", "numbers", "", shard)


def all_chances(library, classes):
    return torch.stack([library.chances(target) for target in range(classes)], 1)


def but(digest):
    """The explained picture, of which only the digest counts."""
    return Subject(digest, torch.zeros(32, dtype=torch.uint8), torch.zeros(1))


def naive_selection(library, target, exclude):
    """(those that qualify, all others by the target's probability)"""
    qualify, others = [], []
    for row, (chances, label) in enumerate(
        zip(all_chances(library, 6).tolist(), library.labels.tolist(), strict=True)
    ):
        if label == target or library.digests[row] == exclude:
            continue
        others.append((chances[target], row))
        right = chances.index(max(chances)) == label
        if right and max(chances) >= np.float32(0.8) and chances[target] <= np.float32(1e-4):
            qualify.append(row)
    return qualify, [row for _, row in sorted(others)]


@pytest.mark.parametrize("exclude", [None, "digest 7"])
@pytest.mark.parametrize("target", range(6))
def test_references_are_those_of_a_loop(target, exclude):
    library = random_library(150)
    qualify, lowest = naive_selection(library, target, exclude)
    by_chance = select(library, target, subject=but(exclude))
    ordered = select(library, target, rule="lowest", subject=but(exclude))
    drawn, rest = by_chance.indices.tolist()[: len(qualify)], by_chance.indices.tolist()[len(qualify) :]
    assert len(qualify) >= 30
    assert by_chance.qualified == ordered.qualified == len(qualify)
    assert (by_chance.fallback, ordered.fallback) == (False, False)
    assert sorted(drawn) == qualify
    assert drawn != qualify
    assert rest == [row for row in lowest if row not in qualify]
    wrong = [row for row in lowest if library.predicted[row] != library.labels[row]]
    assert 0 < len(wrong) < len(lowest) - 30
    assert ordered.indices.tolist() == [row for row in lowest if row not in wrong] + wrong
    assert target not in library.labels[by_chance.indices]
    assert exclude not in {library.digests[row] for row in by_chance.indices.tolist()}


def test_the_lowest_stand_in_when_few_qualify():
    library = random_library(40)
    for target in range(6):
        qualify, lowest = naive_selection(library, target, None)
        found = select(library, target)
        assert 0 < len(qualify) < 30
        assert (found.qualified, found.fallback) == (len(qualify), True)
        assert found.indices.tolist() == lowest


def test_exactly_thirty_are_enough():
    labels = torch.ones(31, dtype=torch.int64)
    certain = torch.tensor([[0.0, 1.0]]).repeat(31, 1)
    library = hand_made(certain, labels, digests=("x",) + ("y",) * 30)
    assert not select(library, 0, subject=but("x")).fallback
    assert select(replace(library, digests=("x", "x") + ("y",) * 29), 0, subject=but("x")).fallback


def test_the_draw_follows_the_seed_alone():
    library = random_library(150)
    draws = [select(library, 0, seed=seed).indices.tolist() for seed in range(5)]
    torch.manual_seed(123)
    assert [select(library, 0, seed=seed).indices.tolist() for seed in range(5)] == draws
    assert len({tuple(draw[:30]) for draw in draws}) == 5
    assert len({tuple(sorted(draw)) for draw in draws}) == 1


def test_a_library_of_the_target_alone_has_no_references():
    library = random_library()
    library = replace(library, labels=torch.zeros(200, dtype=torch.int64))
    assert len(select(library, 0).indices) == 0


class TestOnTheFly:
    """The library made of the explained picture itself."""

    def test_equal_pictures_give_equal_libraries_and_nothing_is_stored(self, home, toy):
        picture = sample("coffee")
        first, second = from_picture(toy, picture), from_picture(toy, sample("coffee"))
        assert len(first) == len(first.ids) == ON_THE_FLY_SIZE
        everything = torch.arange(ON_THE_FLY_SIZE)
        assert torch.equal(first.activations(everything), second.activations(everything))
        assert (
            first.info.fingerprint
            == second.info.fingerprint
            != from_picture(toy, sample("china")).info.fingerprint
        )
        assert not home.exists()

    def test_the_picture_is_never_its_own_reference(self, toy):
        picture = sample("coffee")
        library = from_picture(toy, picture)
        chosen = select(library, 0, subject=but(picture.digest)).indices.tolist()
        assert "coffee" in library.ids
        assert "coffee" not in {library.ids[index] for index in chosen}

    @pytest.mark.parametrize(("width", "height"), [(300, 200), (203, 301), (3, 5), (1, 1)])
    def test_tiles_are_the_pixels_of_the_picture_in_another_order(self, width, height):
        pixels = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
        picture = Picture("p", "d", pixels)
        made = {source.identifier: source.read() for source in sources(picture)}
        assert len(made) == ON_THE_FLY_SIZE
        whole = pixels[: height // 4 * 4, : width // 4 * 4] if min(width, height) >= 4 else pixels
        for number in range(1, 9):
            tiles = made[f"tiles {number}"].pixels
            assert np.array_equal(np.sort(tiles.ravel()), np.sort(whole.ravel()))
            assert min(width, height) < 4 or not np.array_equal(tiles, whole)

    def test_pieces_come_from_the_border(self):
        across, down = np.meshgrid(np.arange(200), np.arange(100))
        pixels = np.stack([across, down, across], -1).astype(np.uint8)
        made = {source.identifier: source.read().pixels for source in sources(Picture("p", "d", pixels))}
        places = {tuple(made[f"border {i}"][0, 0, :2].tolist()) for i in range(1, 9)}
        assert places == {(x, y) for x in (0, 82, 165) for y in (0, 32, 65)} - {(82, 32)}
        assert all(made[f"border {i}"].shape == (35, 35, 3) for i in range(1, 9))

    def test_its_records_are_what_the_network_makes_of_them(self, lite0):
        picture, cut = sample("rocket"), lite0.cut()
        library = from_picture(cut, picture)
        for index in (0, 9, 16, ON_THE_FLY_SIZE - 1):
            [read] = [s.read() for s in sources(picture) if s.identifier == library.ids[index]]
            with torch.no_grad():
                raw = cut.trunk(lite0.preprocessing.tensor(read)[None])
                probabilities = cut.head(raw).softmax(1)[0]
            [found] = library.activations(torch.tensor([index]))
            assert found.float().numpy() == pytest.approx(raw[0].numpy(), abs=2e-2)
            found = torch.tensor([float(library.chances(c)[index]) for c in range(len(probabilities))])
            assert found.numpy() == pytest.approx(probabilities.numpy(), abs=1e-3)
            assert library.labels[index] == probabilities.argmax()

"""The command line: what it writes, what it prints, and how it refuses."""

import argparse
import contextlib
import hashlib
import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from test_library import stopping
from torchvision.models import ResNet50_Weights

from explorer import backbones
from explorer.cli import listings, main
from explorer.compute import Engine, Request
from explorer.dataset import open_dataset
from explorer.images import load, sample
from explorer.library import BUILT_IN, LibraryError, Recipe, build, from_entries, installed, merge
from explorer.methods import METHODS, find
from explorer.render.manifest import entry

PICTURES = ("wide", "chelsea")
NAMES = ("grad-cam", "grad-cam++", "libra-cam")
CATEGORIES = ResNet50_Weights.IMAGENET1K_V1.meta["categories"]


def parse(text):
    """JSON as the standard has it: NaN and Infinity are refused."""
    return json.loads(text, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))


def photograph(path, identifier="coffee", size=(480, 200)):
    sample(identifier).image.resize(size).save(path)
    return path


def silent_main(*arguments):
    """The exit code and what went to standard output."""
    with contextlib.redirect_stdout(io.StringIO()) as output:
        code = main([str(argument) for argument in arguments])
    return code, output.getvalue()


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Two photographs explained by three methods."""
    folder = tmp_path_factory.mktemp("run")
    wide, out = photograph(folder / "wide.jpg"), folder / "new" / "out"
    wanted = [part for name in NAMES for part in ("--method", name)]
    code, output = silent_main("explain", wide, "sample:chelsea", *wanted, "--out", out, "--json")
    assert code == 0
    manifest = parse((out / "manifest.json").read_text())
    entries = {(Path(e["picture"]["name"]).stem, e["method"]["name"]): e for e in manifest["explanations"]}
    pictures = {"wide": load(wide), "chelsea": sample("chelsea")}
    return SimpleNamespace(
        wide=wide, out=out, output=output, manifest=manifest, entries=entries, pictures=pictures
    )


@pytest.fixture(scope="module")
def explained(run):
    """The same from Python, each method with nothing known yet."""
    engines = {name: Engine() for name in NAMES}
    return {
        (stem, name): engine.explain(run.pictures[stem], Request(method=find(name)()))
        for stem in PICTURES
        for name, engine in engines.items()
    }


@pytest.fixture
def small(tmp_path):
    """A folder of three photographs."""
    folder = tmp_path / "small"
    folder.mkdir()
    for identifier in ("rocket", "astronaut", "motorcycle"):
        photograph(folder / f"{identifier}.png", identifier, (300, 300))
    return folder


def refused(capsys, *arguments):
    """The one line with which a command is refused."""
    assert main([str(argument) for argument in arguments]) == 2
    output, errors = capsys.readouterr()
    assert output == ""
    assert errors.count("\n") == 1
    assert errors.endswith((".\n", '"\n'))
    assert "Traceback" not in errors
    return errors


def test_explain_writes_two_files_for_each_map_and_a_manifest(run):
    written = {str(path.relative_to(run.out)) for path in run.out.rglob("*") if path.is_file()}
    maps = {f"{stem}/{name}.{kind}" for stem in PICTURES for name in NAMES for kind in ("png", "npy")}
    assert written == {*maps, "manifest.json"}
    listed = {file for e in run.entries.values() for file in e["files"].values()}
    assert listed == maps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("stem", PICTURES)
def test_the_written_maps_are_those_of_python(run, explained, stem, name):
    saliency = np.load(run.out / stem / f"{name}.npy", allow_pickle=False)
    assert saliency.dtype == np.float32
    assert saliency.shape == (224, 224)
    assert np.ptp(saliency) > 0.1
    assert np.array_equal(saliency, explained[stem, name].attribution.saliency.numpy())


@pytest.mark.parametrize("name", NAMES)
def test_the_overlay_leaves_the_photograph_outside_the_crop(run, name):
    """Lite0 sees the middle 224 of 256 pixels of the short side: of 480 x 200 that is 175 x 175."""
    photo = np.asarray(Image.open(run.wide)).astype(int)
    drawn = np.asarray(Image.open(run.out / "wide" / f"{name}.png")).astype(int)
    assert drawn.shape == photo.shape == (200, 480, 3)
    differs = (drawn != photo).any(2)
    rows, columns = differs.any(1).nonzero()[0], differs.any(0).nonzero()[0]
    assert (rows[0], rows[-1], columns[0], columns[-1]) == pytest.approx((12, 187, 152, 327), abs=1)
    assert differs[20:180, 160:320].mean() > 0.95


def test_the_overlay_is_brightest_where_the_map_is_highest(run):
    saliency = np.load(run.out / "wide" / "grad-cam.npy")
    drawn = np.asarray(Image.open(run.out / "wide" / "grad-cam.png").convert("L"))[14:186, 154:326]
    shown = np.asarray(Image.fromarray(saliency).resize((175, 175)))[2:174, 2:174]
    assert np.corrcoef(shown.flat, drawn.flat)[0, 1] > 0.5


def test_the_manifest_tells_picture_backbone_and_class(run, lite0):
    chelsea = Path(find_spec("skimage").origin).parent / "data" / "chelsea.png"
    assert run.manifest["schema_version"] == 1
    assert run.manifest["versions"]["torch"] == metadata.version("torch")
    for (stem, name), found in run.entries.items():
        path = run.wide if stem == "wide" else chelsea
        assert found["picture"]["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert found["backbone"]["name"] == "efficientnet_lite0"
        assert found["backbone"]["weights_sha256"] == lite0.digest
        assert found["backbone"]["layer"] == lite0.default_layer.name
        assert found["backbone"]["layer_shape"] == [1280, 7, 7]
        assert found["method"]["name"] == name
        with torch.inference_mode():
            logits = lite0(lite0.preprocessing.tensor(load(path))[None])[0].double()
        index = int(logits.argmax())
        assert found["class"]["index"] == index
        assert found["class"]["name"] == CATEGORIES[index]
        assert found["class"]["probability"] == pytest.approx(float(logits.softmax(0)[index]), abs=1e-5)
        assert found["seconds"] > 0
    assert run.entries["chelsea", "grad-cam"]["method"]["options"] == {}
    assert run.entries["chelsea", "libra-cam"]["method"]["options"] == {"size": 30, "official": False}


def test_the_manifest_tells_the_references(run, explained):
    [built_in] = [
        info for info in installed() if (info.name, info.backbone) == (BUILT_IN, "efficientnet_lite0")
    ]
    for (stem, name), found in run.entries.items():
        if name != "libra-cam":
            assert found["library"] is None
            continue
        assert found["library"]["name"] == BUILT_IN
        assert found["library"]["fingerprint"] == built_in.fingerprint
        references, used = found["library"]["references"], explained[stem, name].references
        assert [r["id"] for r in references] == [used.library.ids[i] for i in used.indices]
        assert [r["kept"] for r in references] == used.kept.tolist()
        assert [r["gain"] for r in references] == used.gains.tolist()
        assert len({r["id"] for r in references}) == 30
        assert not any(r["id"].startswith(stem) for r in references)  # never crops of the photograph itself


def test_the_manifest_tells_the_calibration_and_the_passes(run, explained):
    """Methods that share a picture are not charged for each other's passes."""
    for key, found in run.entries.items():
        curve = explained[key].calibration
        assert found["calibration"]["removed_percent"] == list(range(0, 100, 10))
        assert found["calibration"]["probabilities"] == list(curve.probabilities)
        assert found["calibration"]["cut_percent"] == 10 * int(np.argmax(curve.probabilities))
        assert found["forward_passes"] == explained[key].passes
        if key[1] == "libra-cam":
            assert found["forward_passes"] >= 1 + 30 + 10  # references are measured in whole batches
        else:
            assert found["forward_passes"] == 1 + 10


def test_the_printed_manifest_is_the_written_one(run):
    assert parse(run.output) == run.manifest


def test_an_unmeasurable_gain_is_not_a_number_in_no_manifest(explained):
    """A reference whose base map is constant has the gain NaN, which JSON does not know."""
    found = explained["chelsea", "libra-cam"]
    references = replace(found.references, gains=torch.full_like(found.references.gains, torch.nan))
    parse(json.dumps(entry(replace(found, references=references))))


def commands(parser, *words):
    """Every command of a parser, as words."""
    yield words
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            for word, inner in action.choices.items():
                yield from commands(inner, *words, word)


@pytest.mark.parametrize("words", [*commands(import_module("explorer.cli.main")._parser())], ids=" ".join)
def test_every_command_says_how_it_is_called(words, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    assert " ".join(["usage: cam-explorer", *words]) in " ".join(capsys.readouterr().out.split())


def test_options_of_methods_are_flags(run, tmp_path, capsys):
    arguments = ["sample:chelsea", "--method", "libra-cam", "--size", "5", "--official", "--target", "281"]
    assert main(["explain", *arguments, "--fine", "--rule", "lowest", "--out", str(tmp_path), "--json"]) == 0
    [found] = parse(capsys.readouterr().out)["explanations"]
    assert found["method"]["options"] == {"size": 5, "official": True}
    assert len(found["library"]["references"]) == 5
    assert (found["library"]["rule"], found["library"]["seed"]) == ("lowest", 0)
    assert (found["class"]["index"], found["class"]["name"]) == (281, CATEGORIES[281])
    assert found["calibration"]["removed_percent"] == list(range(0, 92, 2))


def test_a_quality_decides_the_options_that_are_not_given(run, tmp_path):
    def sizes(*arguments):
        line = ("explain", "sample:chelsea", "--method", "libra-cam", *arguments, "--out", tmp_path, "--json")
        [found] = parse(silent_main(*line)[1])["explanations"]
        return found["method"]["options"]["size"], len(found["library"]["references"])

    assert sizes("--quality", "quick") == (10, 10)
    assert sizes("--quality", "quick", "--size", 7) == (7, 7)
    assert sizes("--quality", "paper") == (30, 30)


def test_a_quality_decides_what_is_evaluated(small, tmp_path):
    chosen = ("--methods", "fake-cam,libra-cam,libra-cam:size=3", "--baseline", "libra-cam")
    line = (
        *chosen,
        "--metrics",
        "complexity",
        "--quality",
        "quick",
        "--images",
        small,
        "--out",
        tmp_path / "out",
    )
    assert silent_main("evaluate", *line)[0] == 0
    summary = parse((tmp_path / "out" / "summary.json").read_text())
    assert list(summary["evaluation"]["methods"]) == ["fake-cam", "libra-cam:size=10", "libra-cam:size=3"]
    assert summary["baseline"] == ["libra-cam:size=10", "plain"]


def test_fewer_references_are_the_first_of_more_and_a_seed_draws_others(run, tmp_path):
    def references(*arguments):
        line = ("explain", "sample:chelsea", "--method", "libra-cam", *arguments, "--out", tmp_path, "--json")
        [found] = parse(silent_main(*line)[1])["explanations"]
        return [r["id"] for r in found["library"]["references"]]

    default = [r["id"] for r in run.entries["chelsea", "libra-cam"]["library"]["references"]]
    assert references("--size", 5) == default[:5]
    other = references("--size", 5, "--seed", 1)
    fallback = run.entries["chelsea", "libra-cam"]["library"]["fallback"]
    assert (other == default[:5]) == fallback


def test_another_layer_is_used(tmp_path, lite0, capsys):
    layer = lite0.layers[-6]
    arguments = [
        "explain",
        "sample:rocket",
        "--layer",
        layer.name,
        "--method",
        "grad-cam",
        "--out",
        str(tmp_path),
    ]
    assert main([*arguments, "--json"]) == 0
    [found] = parse(capsys.readouterr().out)["explanations"]
    assert found["backbone"]["layer"] == layer.name
    assert found["backbone"]["layer_shape"] == [layer.channels, layer.height, layer.width]


def test_without_json_a_line_for_each_map_is_printed(run, tmp_path, capsys):
    assert main(["explain", "sample:chelsea", "--method", "grad-cam", "--out", str(tmp_path)]) == 0
    first, last = capsys.readouterr().out.splitlines()
    found = run.entries["chelsea", "grad-cam"]["class"]
    assert first.startswith(f"chelsea  grad-cam  {found['name']} {found['probability']:.3f}")
    assert "11 passes" in first
    assert last == f"Wrote 2 files and manifest.json to {tmp_path}."


def test_listings_are_json(lite0, capsys):
    def listed(*arguments):
        assert main([*arguments, "--json"]) == 0
        return parse(capsys.readouterr().out)

    assert [item["name"] for item in listed("backbones")] == list(backbones.names())
    methods = listed("methods")
    assert [item["name"] for item in methods] == list(METHODS)
    [libra] = [item for item in methods if item["name"] == "libra-cam"]
    assert [option["name"] for option in libra["options"]] == ["size", "official"]
    assert libra["needs"] == ["gradient", "reference library"]
    assert [item["name"] for item in listed("layers")] == [layer.name for layer in lite0.layers]


def test_costs_are_foretold_and_measured(monkeypatch, capsys):
    monkeypatch.setattr(
        listings, "METHODS", {name: METHODS[name] for name in ("grad-cam", "score-cam", "cam")}
    )
    assert main(["methods", "--costs", "--json"]) == 0
    costs = {item["name"]: item for item in parse(capsys.readouterr().out)}
    assert {name: item["passes"] for name, item in costs.items()} == {
        "grad-cam": 1 + 10,
        "score-cam": 1 + 1280 + 10,
        "cam": 1 + 10,
    }
    assert {name for name, item in costs.items() if item["measured"]} == {"grad-cam", "cam"}
    assert costs["score-cam"]["seconds"] > 10 * costs["grad-cam"]["seconds"] > 0
    assert main(["methods", "--costs", "--quality", "quick", "--json"]) == 0
    [quick] = [item for item in parse(capsys.readouterr().out) if item["name"] == "score-cam"]
    assert quick["passes"] == 1 + 128 + 10
    assert main(["methods", "--costs", "--layer", "conv_head"]) == 0
    assert "CAM is defined only where" in capsys.readouterr().out


def test_a_measurement_that_takes_too_long_is_stopped(monkeypatch, capsys):
    monkeypatch.setattr(listings, "METHODS", {"smooth-grad-cam++": METHODS["smooth-grad-cam++"]})
    monkeypatch.setattr(listings, "_LONGEST", -1.0)
    assert main(["methods", "--costs"]) == 0
    assert "15 passes  about" in capsys.readouterr().out


def test_listings_are_readable(capsys):
    for command, words in (
        ("backbones", backbones.names()),
        ("methods", METHODS),
        ("layers", ["bn2", "default"]),
    ):
        assert main([command]) == 0
        output = capsys.readouterr().out
        assert all(word in output for word in words)


def test_a_library_is_built_listed_shown_and_used(home, small, tmp_path, capsys):
    def ask(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        return parse(capsys.readouterr().out)

    assert ask("library", "list") == []
    (small / "broken.jpg").write_bytes(b"\xff\xd8\xff")
    labels = tmp_path / "labels.csv"
    labels.write_text("file,class_index\nrocket.png,7\n")
    built = ask("library", "build", "--images", small, "--labels", labels, "--name", "three")
    assert (built[0]["name"], built[0]["records"], built[0]["classes"]) == ("three", 3, 3)
    assert "broken.jpg" in built[0]["skipped"][0]
    assert ask("library", "list") == ask("library", "show", "three") == built
    assert [info["name"] for info in ask("library", "build", "--images", small)] == ["small"]
    assert main(["library", "show", "three"]) == 0
    assert "skipped" in capsys.readouterr().out
    arguments = ("explain", "sample:chelsea", "--method", "libra-cam", "--out", tmp_path / "out")
    [found] = ask(*arguments, "--library", "three")["explanations"]
    assert found["library"]["fingerprint"] == built[0]["fingerprint"]
    assert {r["id"] for r in found["library"]["references"]} == {
        "rocket.png",
        "astronaut.png",
        "motorcycle.png",
    }
    [found] = ask(*arguments, "--library", "three", "--target", "7")["explanations"]
    assert {r["id"] for r in found["library"]["references"]} == {"astronaut.png", "motorcycle.png"}


def test_a_library_of_folders_that_are_no_classes_of_the_network(home, tmp_path, capsys):
    for folder, name in (("cats", "chelsea"), ("rockets", "rocket")):
        (tmp_path / "pets" / folder).mkdir(parents=True)
        sample(name).image.save(tmp_path / "pets" / folder / f"{name}.jpg")
    command = ["library", "build", "--images", str(tmp_path / "pets")]
    assert "the classes may be ignored (--no-labels)" in refused(capsys, *command)
    assert main([*command, "--no-labels", "--json"]) == 0
    [info] = parse(capsys.readouterr().out)
    assert (info["records"], info["classes"]) == (2, 2)


def test_libraries_are_exchanged_merged_and_deleted(home, small, tmp_path, capsys):
    def ask(*arguments):
        assert main([*map(str, arguments), "--json"]) == 0
        return parse(capsys.readouterr().out)

    (tmp_path / "other").mkdir()
    (small / "rocket.png").rename(tmp_path / "other" / "rocket.png")
    layers = ("--layers", "blocks.5,bn2")
    ask("library", "build", "--images", small, "--name", "one", *layers)
    two = ask("library", "build", "--images", tmp_path / "other", "--name", "two", *layers)
    assert [info["layer"] for info in two] == ["blocks.5", "bn2"]
    assert main(["library", "export", "one", "--out", str(tmp_path / "one.zip")]) == 2
    assert "several libraries 'one': say which" in capsys.readouterr().err
    ask("library", "export", "one", "--layer", "bn2", "--out", tmp_path / "one.zip")
    [merged] = ask("library", "merge", "two", "one", "--name", "all")
    (tmp_path / "other" / "rocket.png").rename(small / "rocket.png")
    [whole] = ask("library", "build", "--images", small, "--name", "whole")
    assert merged["fingerprint"] == whole["fingerprint"]
    assert merged["records"] == 3
    ask("library", "delete", "one", "--layer", "bn2")
    assert [info["layer"] for info in ask("library", "show", "one")] == ["blocks.5"]
    [back] = ask("library", "import", tmp_path / "one.zip", "--name", "back")
    assert back["records"] == 2
    ask("library", "verify", "back")
    shard = next((home / "libraries").rglob(back["files"][-1]["name"]))
    shard.write_bytes(b"damaged")
    assert main(["library", "verify", "back"]) == 2
    assert shard.name in capsys.readouterr().err


def test_what_is_not_finished_or_damaged_is_listed_and_deleted(home, small, capsys):
    cut = backbones.load("efficientnet_lite0").cut()
    entries = from_entries(open_dataset(small, classes=cut.backbone.labels))
    with pytest.raises(LibraryError):
        build([cut], Recipe("half", "folder small"), entries, stopping(1))
    [whole] = build([cut], Recipe("whole", "folder small"), entries)
    lost = merge([whole], Recipe("lost", "parts")).folder
    (lost / "index.json").write_text("no index")
    assert main(["library", "list"]) == 0
    output = capsys.readouterr()
    assert "whole" in output.out
    assert re.search(r"half +efficientnet_lite0 at .*: not finished \(folder small, 3 pictures\)", output.err)
    assert f"{lost.name}: damaged" in output.err
    assert main(["library", "verify", "half"]) == 2
    assert "'half' is not finished" in capsys.readouterr().err
    for name in ("half", lost.name):
        assert main(["library", "delete", name]) == 0
        assert main(["library", "delete", name]) == 2
    assert main(["library", "verify", "whole"]) == 0
    capsys.readouterr()
    assert main(["library", "list"]) == 0
    assert not capsys.readouterr().err


def test_the_module_runs():
    command = [sys.executable, "-m", "explorer", "backbones", "--json"]
    found = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [item["name"] for item in parse(found.stdout)] == list(backbones.names())
    assert found.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.jpg"], '"none.jpg" cannot be read'),
        (["folder.jpg"], '"folder.jpg" cannot be read'),
        (["text.jpg"], '"text.jpg" is no JPEG'),
        (["sample:chelsea", "text.jpg"], '"text.jpg" is no JPEG'),
        (["sample:dog"], '"dog" is not a sample: choose one of chelsea'),
        (["sample:chelsea", "--method", "grad-kam"], "'grad-kam'; there are "),
        (
            ["sample:chelsea", "--method", "libra-cam", "--size", "0"],
            "libra-cam: size must lie between 1 and",
        ),
        (["sample:chelsea", "--size", "many"], "--size: invalid int value: 'many'"),
        (["sample:chelsea", "--rule", "best"], "--rule: invalid choice: 'best'"),
        (["sample:chelsea", "chelsea.png"], "2 of the photographs are called 'chelsea'"),
        (["sample:chelsea", "--colour", "red"], "--colour"),
        ([], "PHOTO"),
    ],
)
def test_what_cannot_be_explained_is_refused_before_anything_is_written(
    tmp_path, monkeypatch, capsys, arguments, words
):
    monkeypatch.chdir(tmp_path)
    Path("folder.jpg").mkdir()
    Path("text.jpg").write_text("no picture")
    photograph("chelsea.png")
    assert words in refused(capsys, "explain", *arguments, "--out", "out")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--backbone", "resnet5"], "no backbone 'resnet5'"),
        (["--backbone", "timm:resnet5000"], "'resnet5000'"),
        (["--backbone", "resnet18"], "resnet18"),  # its weights are not on this machine
        (["--layer", "conv99"], "no cut point 'conv99'"),
        (["--library", "none", "--method", "libra-cam"], "no library 'none'"),
        (["--library", "\udcff", "--method", "libra-cam"], "no library"),  # not UTF-8 in the shell
        (["--target", "1000"], "no class 1000: its classes are 0 to 999"),
        (["--target", "-1"], "no class -1"),
        (["--target", "mug of beer"], "knows no class called 'mug of beer'"),
    ],
)
def test_what_the_network_cannot_serve_is_refused(tmp_path, capsys, arguments, words):
    assert words in refused(capsys, "explain", "sample:chelsea", *arguments, "--out", tmp_path)
    assert not list(tmp_path.rglob("*.*"))


def test_an_output_that_is_a_file_is_refused(tmp_path, capsys):
    (tmp_path / "out").write_text("mine")
    for out in ("out", "out/deeper"):
        assert "--out" in refused(capsys, "explain", "sample:chelsea", "--out", tmp_path / out)
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("blocked", ["manifest.json", "rocket/grad-cam.npy", "rocket/grad-cam.png"])
def test_an_output_that_cannot_be_written_is_refused(tmp_path, capsys, blocked):
    (tmp_path / blocked).mkdir(parents=True)
    arguments = ["explain", "sample:rocket", "--method", "grad-cam", "--out", str(tmp_path), "--json"]
    assert blocked in refused(capsys, *arguments)


@pytest.mark.parametrize(
    "name", ["...jpg", "..jpg", "manifest.json.jpg", "\udcff.jpg", ".jpg", "a\nb.jpg"], ids=ascii
)
def test_a_strange_photo_name_stays_in_a_folder_of_its_own(tmp_path, capsys, name):
    """The stem of ``...jpg`` is the parent folder."""
    sample("rocket").image.resize((64, 64)).save(tmp_path / "photo.jpg")
    photo, out = (tmp_path / "photo.jpg").rename(tmp_path / name), tmp_path / "out"
    code = main(["explain", str(photo), "--method", "grad-cam", "--out", str(out)])
    output, errors = capsys.readouterr()
    assert {path.parent for path in tmp_path.rglob("grad-cam.*")} <= set(
        out.iterdir() if out.exists() else []
    )
    assert (code, errors.count("\n")) in {(0, 0), (2, 1)}
    output.encode()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["library", "build", "--images", "empty"], "empty holds no JPEG"),
        (["library", "build", "--images", "none"], "none is no folder"),
        (["library", "build", "--images", "small", "--labels", "none.csv"], "none.csv cannot be read"),
        (["library", "build", "--images", "small", "--name", "built-in"], "'built-in'"),
        (["library", "build", "--images", "small", "--name", "x" * 61], "cannot name a library"),
        (["library", "build", "--images", "small", "--backbone", "resnet5"], "'resnet5'"),
        (["library", "build", "--images", "small", "--layer", "conv99"], "'conv99'"),
        (["library", "build"], "--images"),
        (["library", "build", "--images", "small", "--textures", "5"], "either --images"),
        (["library", "build", "--images", "small", "--balanced"], "needs a size"),
        (["library", "verify", "none"], "no library 'none'"),
        (["library", "delete", "none"], "no library 'none'"),
        (["library", "export", "none", "--out", "x.zip"], "no library 'none'"),
        (["library", "import", "none.zip"], "none.zip cannot be read"),
        (["library", "import", "small/rocket.png"], "no library that this version can read"),
        (["library", "merge", "none", "--name", "all"], "no library 'none'"),
        (["library", "show", "none"], "no library 'none'"),
        (["library", "show"], "N"),
        (["library"], "ACTION"),
        (["layers", "--backbone", "resnet5"], "'resnet5'"),
        (["explain", "sample:chelsea"], "--out"),
        (["explode"], "'explode'"),
        ([], "COMMAND"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_other_commands_refuse_with_a_sentence(home, small, tmp_path, monkeypatch, capsys, arguments, words):
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    assert words in refused(capsys, *arguments)
    assert not installed()


def test_an_undefined_method_is_refused_before_anything_is_written(original, tmp_path, capsys):
    original("squeezenet1_1")
    words = ["--backbone", "squeezenet1_1", "--method", "grad-cam", "--method", "cam"]
    sentence = refused(capsys, "explain", "sample:chelsea", *words, "--out", tmp_path / "out")
    [reason] = Engine().undefined("squeezenet1_1", methods=[find("cam")()]).values()
    assert sentence.strip() == reason
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError("odd"), "The machine refused: odd."),
        (
            PermissionError(13, "Permission denied", "/somewhere"),
            "/somewhere cannot be used (Permission denied)",
        ),
    ],
)
def test_faults_of_the_system_are_one_sentence(monkeypatch, capsys, error, words):
    def refuse(*_):
        raise error

    monkeypatch.setattr("explorer.backbones.names", refuse)
    assert main(["backbones"]) == 2
    assert words in capsys.readouterr().err

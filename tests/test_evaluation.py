"""The evaluation of a data set: the same records in any order, after any interruption, and in the shell."""

import csv
import errno
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image

from explorer import Engine, images
from explorer.cli import main
from explorer.dataset import Box, Entry, open_dataset
from explorer.declaration import OptionError, parse
from explorer.evaluation import Configuration, EvaluationError, Pace, as_table, evaluate, read_csv
from explorer.evaluation import run as evaluation
from explorer.evaluation.run import measure
from explorer.images import load
from explorer.methods import METHODS
from explorer.methods import find as find_method
from explorer.metrics import METRICS, Objects
from explorer.metrics import find as find_metric
from explorer.render.results import write_results

pytestmark = pytest.mark.usefixtures("home")

FILES = ("pictures.csv", "pictures.parquet", "summary.json", "table.md", "report.html")
LITE0 = "efficientnet_lite0"
CONFIGURATION = Configuration(
    LITE0,
    None,
    (find_method("grad-cam")(), find_method("fake-cam")()),
    tuple(find_metric(name)() for name in ("average-gain", "complexity", "energy-pointing-game")),
)


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """A folder with three photographs and a file that is none."""
    folder = tmp_path_factory.mktemp("photos")
    for identifier in ("chelsea", "coffee", "rocket"):
        images.sample(identifier).image.resize((300, 260)).save(folder / f"{identifier}.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


@pytest.fixture(scope="module")
def entries(photos):
    return [
        Entry("broken.jpg", photos / "broken.jpg"),
        Entry("chelsea.jpg", photos / "chelsea.jpg", (281,), (Box(0.2, 0.1, 0.8, 0.9),)),
        Entry("coffee.jpg", photos / "coffee.jpg", (0,)),
        Entry("rocket.jpg", photos / "rocket.jpg"),
    ]


@pytest.fixture(scope="module")
def undisturbed(engine, entries, tmp_path_factory):
    return evaluate(engine, entries, CONFIGURATION, tmp_path_factory.mktemp("out"), workers=0)


def test_a_record_holds_what_the_engine_says_of_the_map(engine, entries, undisturbed):
    picture = load(entries[1].path)
    seen = engine.backbone(LITE0).preprocessing
    left, top, right, bottom = seen.box(picture)
    region = torch.zeros(seen.crop, dtype=torch.bool)
    for row in range(224):
        for column in range(224):
            x = left + (column + 0.5) / 224 * (right - left)
            y = top + (row + 0.5) / 224 * (bottom - top)
            region[row, column] = 0.2 <= x < 0.8 and 0.1 <= y < 0.9
    figures = engine.figures(picture, CONFIGURATION.requests(None), CONFIGURATION.metrics, Objects(region))
    found = [record for record in undisturbed.records if record["picture"] == "chelsea.jpg"]
    assert [(r["method"], r["variant"]) for r in found] == [
        ("grad-cam", "plain"),
        ("grad-cam", "calibrated"),
        ("fake-cam", "plain"),
        ("fake-cam", "calibrated"),
    ]
    for record, values in zip(
        found, [values for one in figures for values in (one.plain, one.calibrated)], strict=True
    ):
        for name in ("average-gain", "complexity", "energy-pointing-game"):
            assert record[name] == pytest.approx(values[name], abs=1e-6)
        assert (record["label"], record["digest"], record["blank"]) == (281, picture.digest, False)
        assert record["target"] == int(engine.predict(picture, LITE0).probabilities.argmax())
        assert record["correct"] == (record["target"] == 281)
    assert [record["cut"] for record in found] == [
        None,
        figures[0].calibration.cut,
        None,
        figures[1].calibration.cut,
    ]


def test_what_is_not_known_is_none_and_what_cannot_be_read_is_left_out(undisturbed):
    without = [record for record in undisturbed.records if record["picture"] == "rocket.jpg"]
    assert {(r["label"], r["correct"], r["energy-pointing-game"]) for r in without} == {(None, None, None)}
    [reason] = undisturbed.skipped
    assert "broken.jpg" in reason
    assert "broken.jpg" not in {record["picture"] for record in undisturbed.records}


def test_a_picture_has_the_same_records_in_any_order_and_in_another_process_of_thought(
    engine, entries, undisturbed
):
    backwards = []
    for entry in reversed(entries[1:]):
        backwards = measure(engine, entry, load(entry.path), CONFIGURATION) + backwards
    assert backwards == undisturbed.records
    fresh = measure(Engine("cpu"), entries[2], load(entries[2].path), CONFIGURATION)
    assert fresh == [record for record in undisturbed.records if record["picture"] == "coffee.jpg"]


@pytest.fixture
def computed(monkeypatch):
    """The pictures that are measured, as they are."""
    found = []

    def counted(engine, entry, *arguments):
        found.append(entry.identifier)
        return measure(engine, entry, *arguments)

    monkeypatch.setattr(evaluation, "measure", counted)
    return found


def test_a_stopped_evaluation_goes_on_with_nothing_computed_twice(
    engine, entries, undisturbed, tmp_path, computed
):
    def stop(done, total):
        assert total == 4
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        evaluate(engine, entries, CONFIGURATION, tmp_path, stop, workers=0)
    seen = []
    again = evaluate(engine, entries, CONFIGURATION, tmp_path, lambda *now: seen.append(now), workers=0)
    assert again == undisturbed
    assert computed == ["chelsea.jpg", "coffee.jpg", "rocket.jpg"]
    assert seen == [(2, 4), (3, 4), (4, 4)]


@pytest.mark.parametrize("kept", [0, 1, 10, -1, -200])
def test_a_journal_cut_short_anywhere_is_continued(engine, entries, undisturbed, tmp_path, kept):
    evaluate(engine, entries, CONFIGURATION, tmp_path, workers=0)
    journal = tmp_path / "journal.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole[:kept])
    assert evaluate(engine, entries, CONFIGURATION, tmp_path, workers=0) == undisturbed
    assert journal.read_bytes() == whole


def test_another_evaluation_in_the_folder_is_refused(engine, entries, tmp_path):
    evaluate(engine, entries[1:2], CONFIGURATION, tmp_path, workers=0)
    with pytest.raises(
        EvaluationError, match=r"holds another evaluation \(other pictures, pictures_sha256\)"
    ):
        evaluate(engine, entries[2:], CONFIGURATION, tmp_path, workers=0)
    for head in (b"{nonsense\n", b"[]\n", b"null\n"):
        (tmp_path / "journal.jsonl").write_bytes(head)
        with pytest.raises(EvaluationError, match="is damaged in its first line"):
            evaluate(engine, entries[1:2], CONFIGURATION, tmp_path, workers=0)
        assert (tmp_path / "journal.jsonl").read_bytes() == head


def test_a_picture_that_was_replaced_meanwhile_is_measured_again_alone(engine, photos, tmp_path, computed):
    for name in ("coffee.jpg", "rocket.jpg"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    pictures = [Entry(name, tmp_path / name) for name in ("coffee.jpg", "rocket.jpg")]
    evaluate(engine, pictures, CONFIGURATION, tmp_path / "out", workers=0)
    (tmp_path / "rocket.jpg").write_bytes((photos / "chelsea.jpg").read_bytes())
    for path in tmp_path.glob("*.jpg"):
        os.utime(path, (0, 0))  # copied elsewhere: the time alone says nothing
    outcome = evaluate(engine, pictures, CONFIGURATION, tmp_path / "out", workers=0)
    assert computed == ["coffee.jpg", "rocket.jpg", "rocket.jpg"]
    assert outcome == evaluate(engine, pictures, CONFIGURATION, tmp_path / "fresh", workers=0)


def test_a_picture_that_was_left_out_and_is_repaired_is_measured(engine, photos, tmp_path, computed):
    (tmp_path / "a.jpg").write_bytes((photos / "coffee.jpg").read_bytes()[:999])
    (tmp_path / "b.jpg").write_bytes((photos / "rocket.jpg").read_bytes())
    pictures = [Entry(name, tmp_path / name) for name in ("a.jpg", "b.jpg")]
    [reason] = evaluate(engine, pictures, CONFIGURATION, tmp_path / "out", workers=0).skipped
    assert "a.jpg" in reason
    (tmp_path / "a.jpg").write_bytes((photos / "coffee.jpg").read_bytes())
    assert evaluate(engine, pictures, CONFIGURATION, tmp_path / "out", workers=0).skipped == []
    assert computed == ["b.jpg", "a.jpg"]


def test_a_mask_that_cannot_be_read_leaves_its_picture_out(engine, photos, tmp_path):
    (tmp_path / "mask.png").write_bytes(b"no mask")
    pictures = [
        Entry("coffee.jpg", photos / "coffee.jpg", (967,), mask=tmp_path / "mask.png"),
        Entry("rocket.jpg", photos / "rocket.jpg"),
    ]
    outcome = evaluate(engine, pictures, CONFIGURATION, tmp_path / "out", workers=0)
    [reason] = outcome.skipped
    assert "mask.png cannot be read as a mask" in reason
    assert {record["picture"] for record in outcome.records} == {"rocket.jpg"}


@pytest.mark.parametrize(
    "damage", [b"\0" * 40, b"[]\n", b"null\n{}\n", b'{"picture": "coffee.jpg"}\n', b"\xff\n"]
)
def test_a_damaged_line_costs_its_picture_and_no_other(
    engine, entries, undisturbed, tmp_path, computed, damage
):
    evaluate(engine, entries, CONFIGURATION, tmp_path, workers=0)
    journal = tmp_path / "journal.jsonl"
    head, broken, chelsea, coffee, rocket = journal.read_bytes().splitlines(keepends=True)
    journal.write_bytes(head + broken + chelsea + coffee[:50] + damage + rocket)
    computed.clear()
    assert evaluate(engine, entries, CONFIGURATION, tmp_path, workers=0) == undisturbed
    assert "chelsea.jpg" not in computed
    assert "coffee.jpg" in computed


def test_a_disk_that_fills_up_costs_one_picture(
    engine, entries, undisturbed, tmp_path, computed, monkeypatch
):
    """The file takes part of a line, then refuses, as a full disk does."""

    def full(file, line):
        class Full:
            written = 0

            def write(self, data):
                if self.written:
                    raise OSError(errno.ENOSPC, "No space left on device")
                self.written = file.write(bytes(data[:100]))
                return self.written

            def __getattr__(self, name):
                return getattr(file, name)

        write(Full() if line.get("picture") == "coffee.jpg" else file, line)

    write = evaluation._write
    monkeypatch.setattr(evaluation, "_write", full)
    with pytest.raises(OSError, match="No space left"):
        evaluate(engine, entries, CONFIGURATION, tmp_path, workers=0)
    monkeypatch.setattr(evaluation, "_write", write)
    assert evaluate(engine, entries, CONFIGURATION, tmp_path, workers=0) == undisturbed
    assert computed == ["chelsea.jpg", "coffee.jpg", "coffee.jpg", "rocket.jpg"]


def test_a_killed_decoder_is_told_in_a_sentence(engine, photos, tmp_path):
    """As the system does when memory runs out."""
    pictures = [Entry(f"{number}.jpg", photos / "coffee.jpg") for number in range(6)]

    def kill(done, total):
        if done == 1:
            [worker] = multiprocessing.active_children()
            os.kill(worker.pid, signal.SIGKILL)

    with pytest.raises(EvaluationError, match="--workers 0"):
        evaluate(engine, pictures, CONFIGURATION, tmp_path, kill, workers=1)
    assert len(evaluate(engine, pictures, CONFIGURATION, tmp_path, workers=0).records) == 6 * 4


def test_a_folder_in_use_is_refused(engine, entries, tmp_path):
    def second(done, total):
        with pytest.raises(EvaluationError, match="in use by another evaluation"):
            evaluate(engine, entries[1:2], CONFIGURATION, tmp_path, workers=0)

    evaluate(engine, entries[1:2], CONFIGURATION, tmp_path, second, workers=0)


def test_given_classes_need_some(engine, entries, tmp_path):
    given = Configuration(LITE0, None, CONFIGURATION.methods, CONFIGURATION.metrics, "given")
    with pytest.raises(EvaluationError, match="no picture has one"):
        evaluate(engine, entries[3:], given, tmp_path, workers=0)
    outcome = evaluate(engine, entries[2:], given, tmp_path, workers=0)
    assert {(r["picture"], r["target"]) for r in outcome.records} == {("coffee.jpg", 0)}
    figures = engine.figures(load(entries[2].path), given.requests(0), given.metrics)
    expected = [values["complexity"] for one in figures for values in (one.plain, one.calibrated)]
    assert [record["complexity"] for record in outcome.records] == pytest.approx(expected, abs=1e-6)
    assert outcome.skipped == ["rocket.jpg has no given class."]


def test_every_class_of_a_picture_with_several_is_explained(tmp_path, photos):
    """Pascal VOC and an own model of 20 classes, through the shell."""
    voc, out = tmp_path / "VOC2007", tmp_path / "out"
    for name in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (voc / name).mkdir(parents=True)
    Image.open(photos / "chelsea.jpg").save(voc / "JPEGImages" / "000001.jpg")
    objects = "".join(
        f"<object><name>{name}</name><difficult>0</difficult><bndbox><xmin>{left}</xmin><ymin>20</ymin>"
        f"<xmax>{left + 100}</xmax><ymax>220</ymax></bndbox></object>"
        for name, left in (("cat", 30), ("sofa", 150))
    )
    (voc / "Annotations" / "000001.xml").write_text(
        "<annotation><size><width>300</width><height>260</height><depth>3</depth></size>"
        f"{objects}</annotation>"
    )
    (voc / "ImageSets" / "Main" / "val.txt").write_text("000001\n")
    torch.manual_seed(0)
    torch.save(torchvision.models.resnet18(num_classes=20).state_dict(), tmp_path / "voc.pt")
    assert not main(["model", "add", str(tmp_path / "voc.pt"), "--architecture", "resnet18", "--name", "voc"])
    chosen = ["--methods", "random,fake-cam", "--metrics", "average-drop,energy-pointing-game"]
    own = ["--backbone", "own:voc", "--baseline", "random"]
    assert not main(
        ["evaluate", "--images", str(voc), "--classes", "given", *own, *chosen, "--out", str(out)]
    )
    table = read_csv(out / "pictures.csv")
    assert sorted(set(zip(table["picture"], table["target"], strict=True))) == [
        ("000001.jpg (17)", 17),
        ("000001.jpg (7)", 7),
    ]
    fake = table[(table["method"] == "fake-cam") & (table["variant"] == "plain")]
    # Resized to 295 x 256 and cropped to 224: the boxes cover 30..130 and 150..250 of 300, 20..220 of 260.
    height = 200 / 260 * 256
    for target, left in ((7, 30), (17, 150)):
        inside = min(left / 300 * 295 + 100 / 300 * 295, 259.5) - max(left / 300 * 295, 35.5)
        [energy] = fake.loc[fake["target"] == target, "energy-pointing-game"]
        assert energy == pytest.approx(inside * height / 224**2, abs=0.01)


KILLED = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from explorer import Engine
from explorer.cli import main
from explorer.compute import engine as engines
torch.set_num_threads(1)
folder, command, moments = Path(sys.argv[1]), sys.argv[2:], random.Random(0)
warm = Engine("cpu")
warm.backbone("efficientnet_lite0").cut().pooled_linear
import explorer.cli.evaluate
explorer.cli.evaluate.Engine = lambda: warm

def attempt(out):
    child = os.fork()
    if not child:
        os._exit(main([*command, "--workers", "0", "--out", str(out)]))
    return child

began = time.monotonic()
assert os.waitpid(attempt(folder / "undisturbed"), 0)[1] == 0
usual = time.monotonic() - began
killed = 0
for _ in range(20):
    child = attempt(folder / "killed")
    time.sleep(moments.uniform(0, usual / 4))
    os.kill(child, signal.SIGKILL)
    killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
assert os.waitpid(attempt(folder / "killed"), 0)[1] == 0
print(killed)
"""


def test_killed_at_twenty_moments_it_ends_with_the_same_files(photos, tmp_path):
    command = ["evaluate", "--images", str(photos), "--methods", "grad-cam,lift-cam,random,fake-cam"]
    command += ["--metrics", "average-drop,coherency,complexity,insertion:step=6272"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), *command],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 10
    for name in FILES:
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "undisturbed" / name).read_bytes()


@pytest.fixture(scope="module")
def written(photos, tmp_path_factory):
    """What the command writes, with labels and boxes."""
    folder = tmp_path_factory.mktemp("written")
    (folder / "labels.csv").write_text("file,class_index\nchelsea.jpg,281\ncoffee.jpg,967\nrocket.jpg,657\n")
    (folder / "boxes.csv").write_text("file,x0,y0,x1,y1\nchelsea.jpg,60,26,240,234\n")
    chosen = [
        "--methods",
        "grad-cam,libra-cam:size=4,fake-cam",
        "--metrics",
        "average-gain,average-gain:fill=black,pointing-game",
    ]
    tables = ["--labels", str(folder / "labels.csv"), "--boxes", str(folder / "boxes.csv")]
    assert not main(["evaluate", "--images", str(photos), *tables, *chosen, "--out", str(folder / "out")])
    return folder / "out"


def test_the_command_writes_tables_a_summary_and_a_report(written):
    with (written / "pictures.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3 * 3 * 2
    assert {row["method"] for row in rows} == {"grad-cam", "libra-cam:size=4", "fake-cam"}
    assert {"average-gain", "average-gain:fill=black", "pointing-game"} <= rows[0].keys()
    summary = json.loads((written / "summary.json").read_text())
    [left_out] = summary["left_out"]
    assert "broken.jpg" in left_out
    assert summary["evaluation"]["methods"]["libra-cam:size=4"]["size"] == 4
    assert summary["evaluation"]["metrics"]["average-gain:fill=black"] == {"fill": "black", "mask": "soft"}
    table = read_csv(written / "pictures.csv")
    chosen = table[(table["method"] == "grad-cam") & (table["variant"] == "plain")]
    [row] = [r for r in summary["rows"] if (r["method"], r["variant"]) == ("grad-cam", "plain")]
    scored = row["scores"]["average-gain"]["everywhere"]
    assert scored["mean"] == pytest.approx(sum(chosen["average-gain"]) / 3)
    assert row["scores"]["pointing-game"]["everywhere"]["n"] == 1
    assert "Libra-CAM (size=4)" in (written / "table.md").read_text()
    report = (written / "report.html").read_text()
    assert report.count("data:image/jpeg") == 3 * 3
    assert {path.name for path in written.iterdir()} == {*FILES, "journal.jsonl", ".lock"}
    for text in (report, (written / "table.md").read_text()):
        for fact in (
            "3 of 4",
            "of 3 of 3",
            "the predicted class",
            "broken.jpg",
            "fill: mean, mask: soft",
            "fill: black",
        ):
            assert fact in text


def test_a_picture_that_is_gone_costs_its_example_and_nothing_else(engine, photos, tmp_path):
    for name in ("coffee.jpg", "rocket.jpg", "chelsea.jpg"):
        (tmp_path / name).write_bytes((photos / name).read_bytes())
    pictures = [Entry(path.name, path) for path in sorted(tmp_path.glob("*.jpg"))]
    outcome = evaluate(engine, pictures, CONFIGURATION, tmp_path / "out", workers=0)
    (tmp_path / "coffee.jpg").unlink()
    (tmp_path / "rocket.jpg").write_bytes((photos / "chelsea.jpg").read_bytes())
    stale = tmp_path / "out" / ".results"
    stale.mkdir()
    (stale / "half.csv").write_text("of a run that was killed")
    write_results(engine, pictures, CONFIGURATION, outcome, "grad-cam", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*FILES, "journal.jsonl", ".lock"}
    report = (tmp_path / "out" / "report.html").read_text()
    assert report.count("data:image/jpeg") == 2
    assert "coffee.jpg&quot; cannot be read" in report
    assert "rocket.jpg is another picture than the one that was measured" in report


def test_best_and_worst_are_by_adcc_whatever_its_fill(engine, entries, tmp_path):
    metrics = tuple(
        find_metric(name)(**options)
        for name, options in (("average-gain", {}), ("complexity", {}), ("adcc", {"fill": "black"}))
    )
    configuration = replace(CONFIGURATION, metrics=metrics)
    outcome = evaluate(engine, entries[1:3], configuration, tmp_path, workers=0)
    write_results(engine, entries[1:3], configuration, outcome, "grad-cam", tmp_path)
    assert (
        "ADCC (fill=black) "
        in re.search(r"<figcaption>chelsea[^<]*", (tmp_path / "report.html").read_text())[0]
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--methods", "grad-cam,no-cam"], "no method 'no-cam'"),
        (["--methods", "grad-cam:size=3"], "grad-cam has no option 'size'"),
        (["--methods", "grad-cam,libra-cam:size=many"], "size must be of type int"),
        (["--methods", "grad-cam,libra-cam:size=0"], "between 1 and"),
        (["--metrics", "beauty"], "no metric 'beauty'"),
        (["--metrics", "average-drop:fill=pink"], "mean or black"),
        (["--methods", ","], "--methods names none"),
        (["--metrics", ""], "--metrics names none"),
        (["--methods", "fake-cam"], "The baseline 'grad-cam' is not among"),
        (["--images", "nowhere"], "nowhere is no folder"),
        (["--library", "unknown"], "unknown"),
        (["--backbone", "own:none"], "There is no model 'none'"),
        (["--classes", "given"], "no picture has one"),
        (["--workers", "-1"], "--workers"),
    ],
)
def test_what_cannot_be_evaluated_is_refused_in_a_sentence(photos, tmp_path, capsys, arguments, words):
    default = ["--images", str(photos), "--methods", "grad-cam,libra-cam", "--out", str(tmp_path / "out")]
    assert main(["evaluate", *default, *arguments]) == 2
    assert words in capsys.readouterr().err


def test_what_is_asked_twice_is_measured_once(photos, tmp_path):
    chosen = ["--methods", "fake-cam,random,random:seed=0", "--metrics", "complexity,complexity"]
    command = [
        "--images",
        str(photos),
        *chosen,
        "--baseline",
        "random:seed=0",
        "--out",
        str(tmp_path / "out"),
    ]
    assert not main(["evaluate", *command])
    table = read_csv(tmp_path / "out" / "pictures.csv")
    assert sorted(set(table["method"])) == ["fake-cam", "random"]


def test_pictures_of_which_none_is_readable_are_refused(tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    assert main(["evaluate", "--images", str(tmp_path), "--out", str(tmp_path / "out")]) == 2
    assert "No picture could be evaluated" in capsys.readouterr().err


@pytest.mark.parametrize("declared", [*METHODS.values(), *METRICS.values()], ids=lambda one: one.name)
def test_what_is_written_with_its_options_reads_back(declared):
    find = {**METHODS, **METRICS}.__getitem__
    assert str(declared()) == declared.name
    assert parse(declared.name, find) == declared()


def test_options_are_written_where_they_differ():
    libra = find_method("libra-cam")(size=7, official=True)
    assert str(libra) == "libra-cam:size=7:official"
    assert parse("libra-cam:official:size=7", find_method) == libra
    assert str(find_method("opti-cam")(rate=0.25)) == "opti-cam:rate=0.25"
    assert parse("libra-cam:official=False", find_method) == find_method("libra-cam")()
    with pytest.raises(OptionError, match="official must be of type bool"):
        parse("libra-cam:official=maybe", find_method)


def test_the_table_of_an_evaluation_is_typed(undisturbed):
    table = as_table(undisturbed.records)
    assert table["cut"].isna().sum() == 6
    assert table["average-gain"].dtype == float


def test_the_validation_pictures_are_all_known(shared_data, engine):
    folder = shared_data / "validation"
    found = open_dataset(
        folder,
        classes=engine.backbone(LITE0).labels,
        labels=folder / "labels.csv",
        boxes=folder / "boxes.csv",
    )
    assert len(found) == 300
    assert all(len(entry.labels) == 1 for entry in found)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2.0, "300.0 a second, 3 s left"),
        (300.0, "2.0 a second, 8 min left"),
        (1500.0, "2.5 s each, 38 min left"),
        (6000.0, "10.0 s each, 2.5 h left"),
    ],
)
def test_how_fast_it_goes_and_how_long_it_takes(monkeypatch, seconds, text):
    """600 of 1500 pictures, of which 100 had been measured before."""
    clock = iter((50.0, 50.0 + seconds))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    pace = Pace()
    assert pace(100, 1600) == ""
    assert pace(700, 1600) == text

"""The strip on Compare and the Evaluate page, without a browser."""

import html
import io
import json
import re
import shlex
import zipfile

import pytest
from pages import APP
from streamlit.testing.v1 import AppTest
from streamlit.util import calc_hash

from explorer import images
from explorer.backbones import DEFAULT_BACKBONE
from explorer.cli import main
from explorer.compute import Engine, Request, State
from explorer.dataset import DatasetError, archive
from explorer.evaluation import Configuration, Summary, as_table, evaluate, shelf, summarise
from explorer.evaluation.tables import percent
from explorer.methods import METHODS
from explorer.metrics import DEFAULT_METRICS, METRICS
from explorer.render.manifest import manifest
from explorer.render.results import column_of
from explorer.ui.state import service

pytestmark = pytest.mark.usefixtures("home")
TWO = {"methods": "grad-cam,fake-cam", "samples": "chelsea,coffee"}
CLASSES = tuple(map(str, range(1000)))


@pytest.fixture
def visit():
    """Opens a page of the explorer with a query, and runs it until nothing is pending."""

    def open_page(page="", **query):
        app = AppTest.from_file(APP, default_timeout=120)
        app._page_hash = calc_hash(page) if page else ""
        app.query_params.update(query)
        return settle(app.run())

    return open_page


def settle(app):
    """Reruns the script after each batch of jobs, and once more for one that ended while the page was drawn."""
    for _ in range(100):
        assert not app.exception
        jobs = [*service()._decoder._jobs.values(), *service()._device._jobs.values()]
        if not jobs and not app.get("progress"):
            return app.run()
        for job in jobs:
            assert job.wait(120)
        app.run()
    raise AssertionError("the page did not settle")


def blocks(app, kind):
    return [text for element in app.get("html") if f'class="cam-{kind}"' in (text := element.proto.body)]


def strips(app):
    """Of each strip its heading, its values by symbol, and the symbols that are marked as best."""
    found = []
    for text in blocks(app, "strip"):
        [head] = re.findall("<p>(.*?)</p>", text)
        items = re.findall(r'<li tabindex="0"(.*?)>(\S+) <b>(.*?)</b>', text)
        found.append(
            (
                head,
                {symbol: value for _, symbol, value in items},
                {symbol for mark, symbol, _ in items if mark},
            )
        )
    return found


def figures(identifier, names, metrics=DEFAULT_METRICS, **options):
    picture = images.sample(identifier)
    requests = [Request(method=METHODS[name]()) for name in names]
    measured = [
        METRICS[name](**{key: value for key, value in options.items() if key in METRICS[name]().__dict__})
        for name in metrics
    ]
    return Engine().figures(picture, requests, measured)


def shown(values):
    return {METRICS[name.partition(":")[0]].symbol: percent(value) for name, value in values.items()}


def button(app, label):
    [found] = [one for one in app.button if one.label == label]
    return found


def uploader(app, label):
    [found] = [one for one in app.file_uploader if one.label == label]
    return found


def pack(files, **options):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", **options) as packed:
        for name, content in files:
            packed.writestr(name, content)
    return buffer.getvalue()


def jpeg(identifier):
    buffer = io.BytesIO()
    images.sample(identifier).image.save(buffer, "JPEG")
    return buffer.getvalue()


def test_the_strip_has_the_figures_of_the_engine(visit):
    [(_, first, _), (_, second, _)] = strips(visit(methods="grad-cam,fake-cam"))
    expected = figures("chelsea", ["grad-cam", "fake-cam"])
    assert [first, second] == [shown(one.plain) for one in expected]


def test_the_strip_of_the_calibrated_map_says_its_cut(visit):
    [(head, values, _)] = strips(visit(methods="grad-cam", figures="calibrated"))
    [expected] = figures("chelsea", ["grad-cam"])
    assert head == f"In %, calibrated: {expected.calibration.cut}% removed, mean colour, soft mask"
    assert values == shown(expected.calibrated)


def test_figures_and_their_options_are_kept_in_the_link(visit):
    app = visit(methods="grad-cam", metrics="average-drop,insertion", fill="black", mask="top half")
    [expected] = figures(
        "chelsea", ["grad-cam"], ["average-drop", "insertion"], fill="black", mask="top half"
    )
    assert [values for _, values, _ in strips(app)] == [shown(expected.plain)]
    assert dict(app.query_params)["fill"] in ("black", ["black"])
    [strip] = blocks(app, "strip")
    assert "In %, plain map, black, top half mask" in strip
    assert "Average drop (fill: black, mask: top half), lower is better: relu(p - o) / p" in html.unescape(
        strip
    )


def test_the_best_of_a_row_is_marked(visit):
    marked = [best for _, _, best in strips(visit(methods="grad-cam,fake-cam"))]
    grad, fake = figures("chelsea", ["grad-cam", "fake-cam"])
    assert "ADCC" in marked[0]
    for name in DEFAULT_METRICS:
        sign = 1 if METRICS[name].better == "higher" else -1
        lead = sign * (grad.plain[name] - fake.plain[name])
        symbol = METRICS[name].symbol
        assert (symbol in marked[0], symbol in marked[1]) == (lead > 1e-5, lead < -1e-5)


def test_methods_stand_in_the_order_of_a_figure(visit):
    def titles(app):
        return [text.value for text in app.markdown if text.value in ("**Grad-CAM**", "**Fake-CAM**")]

    assert titles(visit(**TWO, order="average-drop")) == ["**Fake-CAM**", "**Grad-CAM**"] * 2
    assert titles(visit(**TWO, order="adcc")) == ["**Grad-CAM**", "**Fake-CAM**"] * 2


def test_an_order_by_a_figure_that_is_not_shown_gives_way(visit):
    app = visit(order="insertion")
    assert any("order" in warning.value for warning in app.warning)


def test_no_figure_no_strip(visit):
    assert not blocks(visit(metrics=""), "strip")


def test_the_manifest_holds_the_figures_with_their_options():
    request = Request(method=METHODS["grad-cam"]())
    explanation = Engine().explain(images.sample("chelsea"), request)
    metrics = [METRICS["average-drop"](fill="black"), METRICS["energy-pointing-game"]()]
    [measured] = Engine().figures(images.sample("chelsea"), [request], metrics)
    [entry] = manifest([explanation], measured={0: (measured, metrics)})["explanations"]
    assert entry["figures"] == {
        "metrics": {
            "average-drop:fill=black": {"fill": "black", "mask": "soft"},
            "energy-pointing-game": {},
        },
        "plain": {
            "average-drop:fill=black": measured.plain["average-drop:fill=black"],
            "energy-pointing-game": None,
        },
        "calibrated": {
            "cut_percent": measured.calibration.cut,
            "average-drop:fill=black": measured.calibrated["average-drop:fill=black"],
            "energy-pointing-game": None,
        },
    }
    assert "figures" not in manifest([explanation])["explanations"][0]


@pytest.fixture
def samples(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in ("chelsea", "coffee"):
        images.sample(name).image.save(folder / f"{name}.png")
    return folder


def expected_summary(folder, entries, names):
    engine = Engine()
    configuration = Configuration(
        DEFAULT_BACKBONE,
        None,
        tuple(METHODS[name]() for name in names),
        tuple(METRICS[name]() for name in DEFAULT_METRICS),
    )
    outcome = evaluate(engine, entries, configuration, folder, workers=0)
    columns = [column_of(metric) for metric in configuration.metrics]
    return summarise(as_table(outcome.records), columns, ("grad-cam", "plain"), controls=["fake-cam"])


def test_controls_stand_beside_unless_switched_off(visit):
    app = visit("evaluate", methods="grad-cam", samples="chelsea")
    assert any("1 picture x 4 methods" in text.value for text in app.markdown)
    app.toggle(key="widget controls").set_value(False)
    settle(app.run())
    assert any("1 picture x 1 method," in text.value for text in app.markdown)


def test_no_figure_is_told(visit):
    app = visit("evaluate", methods="grad-cam", samples="chelsea", metrics="")
    assert any("No figure is chosen" in info.value for info in app.info)
    assert button(app, "Run").disabled


def test_two_samples_are_evaluated(visit, tmp_path, samples, monkeypatch):
    app = visit("evaluate", controls="no", **TWO)
    assert any("2 pictures x 2 methods" in text.value for text in app.markdown)
    button(app, "Run").click()
    settle(app.run())
    [kept] = shelf.kept()
    document = json.loads((kept.folder / "summary.json").read_text())
    entries = [shelf.Entry(name, images.sample_path(name)) for name in ("chelsea", "coffee")]
    expected = expected_summary(tmp_path / "again", entries, ["grad-cam", "fake-cam"])
    assert Summary.from_dict(document) == expected
    [table] = blocks(app, "table")
    cells = re.findall("<td class=.*?><span>(.*?)</span>", table)
    rows = {row.method: row for row in expected.rows if row.variant == "plain"}
    assert cells == [
        percent(rows[name].scores[column.name].everywhere.mean)
        for name in ("grad-cam", "fake-cam")
        for column in expected.columns
    ]
    ahead = [
        column.title
        for column in expected.columns
        if column.better
        and (difference := rows["fake-cam"].scores[column.name].against.difference)
        and (difference > 0) is (column.better == "higher")
    ]
    assert any(
        caption.value.endswith(f"than every method by: {', '.join(ahead)}.") for caption in app.caption
    )
    assert {path.name for path in kept.folder.iterdir()} >= {
        "report.html",
        "pictures.csv",
        "pictures.parquet",
        "summary.json",
    }

    again = visit("evaluate", **{key: "".join(app.query_params[key]) for key in app.query_params})
    assert blocks(again, "table") == blocks(app, "table")

    monkeypatch.chdir(tmp_path)
    [code] = app.code
    assert main(shlex.split(code.value)[3:]) == 0
    shell = json.loads((tmp_path / "results" / "summary.json").read_text())
    for part in ("methods", "metrics", "layer", "classes"):
        assert shell["evaluation"][part] == document["evaluation"][part]
    assert shell["baseline"] == document["baseline"]


@pytest.mark.parametrize("end", ["stopped", "given up"])
def test_stop_and_go_on(visit, monkeypatch, end):
    """What is measured when it is stopped, or given up because the tab slept, is not measured again."""
    measured, real = [], Engine.figures

    def slow(self, picture, *arguments):
        figures = real(self, picture, *arguments)
        measured.append(picture.digest)
        return figures

    monkeypatch.setattr(Engine, "figures", slow)
    app = visit("evaluate", controls="no", methods="fake-cam,random", samples="chelsea,coffee,rocket,china")
    button(app, "Run").click()
    app.run()
    job = app.session_state["lasting evaluation"]
    while not measured:
        assert not job.wait(0.01)
    if end == "stopped":
        button(app, "Stop").click()
        app.run()
    else:
        job._leases.clear()
    assert job.wait(60)
    assert job.state is State.CANCELLED
    assert not shelf.kept()
    settle(app.run())
    assert any(info.value.startswith(f"Stopped after {job.done} of {job.total}.") for info in app.info)
    button(app, "Run").click()
    settle(app.run())
    [kept] = shelf.kept()
    assert kept.evaluation["pictures"] == 4
    assert len(set(measured)) == 4
    assert measured.count(measured[0]) == 1


def test_an_upload_is_stored_only_when_it_is_evaluated(visit, home):
    app = visit("evaluate", controls="no", methods="fake-cam", samples="")
    data = jpeg("coffee")
    uploader(app, "Your photographs").set_value(
        [("../mine.jpg", data, "image/jpeg"), ("mine.jpg", b"no", "image/jpeg")]
    )
    settle(app.run())
    assert not list(home.rglob("pictures/*"))
    button(app, "Run").click()
    settle(app.run())
    [kept] = shelf.kept()
    assert shelf.picture_path(data).read_bytes() == data
    assert json.loads((kept.folder / "summary.json").read_text())["pictures"] == 1
    assert [one.label for one in app.expander if "left out" in one.label] == ["1 picture left out"]


def test_a_data_set_of_the_server(visit, samples, monkeypatch):
    (samples / "labels.csv").write_text("file,class_index\nchelsea.png,282\n")
    (samples / "boxes.csv").write_text("file,x0,y0,x1,y1\nchelsea.png,100,20,350,290\n")
    monkeypatch.setenv("EXPLORER_DATA", str(samples.parent))
    app = visit(
        "evaluate", controls="no", data="set:photos", methods="fake-cam", classes="given", measured="all"
    )
    assert any("EPG" in text.value for text in app.caption)
    changed = max(path.stat().st_mtime_ns for path in (samples, *samples.glob("*.csv")))
    job = service()._device.finished(("pictures", DEFAULT_BACKBONE, "set:photos", changed, "val", False))
    source, _ = job.result
    assert [entry.labels for entry in source.entries] == [(282,), ()]
    assert (source.labels, source.boxes) == (True, True)


@pytest.mark.parametrize("name", ["set:nowhere", "set:..", "set:../../etc", "/etc", "set:"])
def test_an_unknown_data_set_gives_the_default_with_a_note(visit, samples, monkeypatch, name):
    monkeypatch.setenv("EXPLORER_DATA", str(samples.parent))
    app = visit("evaluate", controls="no", data=name, samples="coffee")
    assert any("data" in warning.value for warning in app.warning)
    assert app.selectbox(key="widget data").value == "page"


def test_a_zip_file_is_evaluated(visit):
    app = visit("evaluate", controls="no", data="zip", methods="fake-cam")
    files = [
        ("photos/a.jpg", jpeg("coffee")),
        ("photos/labels.csv", "file,class_index\na.jpg,967\n"),
        ("photos/notes.txt", "left out"),
        ("__MACOSX/photos/._a.jpg", b"left out"),
    ]
    uploader(app, "ZIP file").set_value([("mine.zip", pack(files), "application/zip")])
    settle(app.run())
    app.radio(key="widget classes").set_value("given")
    button(settle(app.run()), "Run").click()
    settle(app.run())
    [kept] = shelf.kept()
    assert (kept.name, kept.labels, kept.boxes) == ("mine.zip", True, False)
    assert kept.evaluation["classes"] == "given"


def test_a_refused_zip_file_is_told_without_the_folders_of_the_server(visit, home):
    app = visit("evaluate", controls="no", data="zip", methods="fake-cam")
    files = [("a.jpg", jpeg("coffee")), ("labels.csv", "nonsense")]
    uploader(app, "ZIP file").set_value([("mine.zip", pack(files), "application/zip")])
    settle(app.run())
    [error] = app.error
    assert error.value.startswith("labels.csv names none of the pictures")
    assert str(home) not in error.value


@pytest.mark.parametrize(
    "name", ["/etc/a.jpg", "../a.jpg", "x/../../a.jpg", "..\\a.jpg", "C:\\a.jpg", "C:/a.jpg"]
)
def test_a_name_that_leaves_the_folder_is_refused(tmp_path, name):
    with pytest.raises(DatasetError, match="leaves its folder"):
        archive.unpack(pack([("fine.jpg", b"x"), (name, b"x")]), tmp_path / "in" / "folder")
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_too_many_files_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_MEMBERS", 3)
    with pytest.raises(DatasetError, match="over 3 files"):
        archive.unpack(pack([(f"{i}.jpg", b"x") for i in range(4)]), tmp_path / "folder")
    archive.unpack(pack([(f"{i}.jpg", b"x") for i in range(3)]), tmp_path / "folder")


def test_a_bomb_is_refused_by_what_it_declares(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2**20)
    bomb = pack([("a.jpg", bytes(2**21))], compression=zipfile.ZIP_DEFLATED)
    with pytest.raises(DatasetError, match="over 1 MB unpacked"):
        archive.unpack(bomb, tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_a_bomb_is_refused_whatever_it_declares(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "MAX_UNPACKED", 2**20)
    bomb = pack([("a.jpg", bytes(2**21))], compression=zipfile.ZIP_DEFLATED)
    size = (2**21).to_bytes(4, "little")
    assert bomb.count(size) == 2
    with pytest.raises(DatasetError, match="damaged"):
        archive.unpack(bomb.replace(size, (100).to_bytes(4, "little")), tmp_path / "folder")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no ZIP file",
        pack([("a.jpg", bytes(1000))])[:-40],
        pack([("a.jpg", b"x"), ("a.jpg", b"y")]),
        pack([("a" * 300 + ".jpg", b"x")]),
        pack([("a.jpg", b"x"), ("a.jpg/b.jpg", b"x")]),
    ],
    ids=["empty", "text", "cut short", "a name twice", "a long name", "a file as folder"],
)
def test_a_damaged_zip_file_is_refused(tmp_path, data):
    with pytest.raises(DatasetError, match="ZIP file"):
        archive.unpack(data, tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_a_zip_file_of_another_compression_is_refused(tmp_path):
    data = pack([("a.jpg", jpeg("coffee"))], compression=zipfile.ZIP_LZMA)
    with pytest.raises(DatasetError, match="packed in a rare way"):
        archive.unpack(data, tmp_path / "folder")
    assert not list(tmp_path.iterdir())


def test_a_single_class_folder_is_a_class(home):
    source = shelf.from_archive(pack([("n02123045/a.jpg", jpeg("coffee"))]), "mine.zip", ("?",) * 1000, "val")
    assert [entry.labels for entry in source.entries] == [(281,)]


def test_a_zip_file_without_a_picture_is_refused(tmp_path):
    with pytest.raises(DatasetError, match="holds no JPEG, PNG or WebP"):
        archive.unpack(pack([("labels.csv", "file"), ("run.py", "x"), ("a.svg", "x")]), tmp_path / "folder")


def test_a_link_in_a_zip_file_is_not_followed(tmp_path):
    """It becomes a file that holds the name it points to."""
    link = zipfile.ZipInfo("a.jpg")
    link.external_attr = 0o120777 << 16
    archive.unpack(pack([(link, "/etc/passwd")]), tmp_path / "folder")
    assert not (tmp_path / "folder" / "a.jpg").is_symlink()
    assert (tmp_path / "folder" / "a.jpg").read_text() == "/etc/passwd"


def test_class_folders_of_a_zip_file_are_classes(home):
    data = pack([("7/a.jpg", jpeg("coffee")), ("8/b.jpg", jpeg("rocket"))])
    source = shelf.from_archive(data, "mine.zip", CLASSES, "val")
    assert [entry.labels for entry in source.entries] == [(7,), (8,)]
    assert source == shelf.from_archive(data, "mine.zip", CLASSES, "val")
    [only] = shelf.from_archive(pack([("7/a.jpg", jpeg("coffee"))]), "mine.zip", CLASSES, "val").entries
    assert only.labels == (7,)


def test_an_evaluation_goes_on_on_other_pages(visit):
    app = visit("evaluate", controls="no", methods="fake-cam", samples="coffee")
    button(app, "Run").click()
    app.run()
    app._page_hash = calc_hash("compare")
    settle(app.run())
    assert len(shelf.kept()) == 1

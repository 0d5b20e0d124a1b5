"""What is taken away from the page: complete, true to its manifest, and made again bit by bit."""

import csv
import hashlib
import io
import json
import re
import subprocess
import sys
import zipfile
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image

from explorer import METHODS, METRICS, Engine, Request, images
from explorer.bundle import BundleError, Hung, Line, Wall, opened, pack, remake
from explorer.bundle.citation import bibtex
from explorer.calibration import FINE_LEVELS
from explorer.cli import main
from explorer.compute.engine import Silent
from explorer.declaration import Paper
from explorer.errors import ExplorerError
from explorer.methods import Blank
from explorer.render.publication import Layout, Row, encoded, grid

ROOT = Path(__file__).parents[1]
UPLOAD = "=a$b^{_%|`.jpg"  # a file name that a formula, a table or a spreadsheet would stumble over


@pytest.fixture(scope="module")
def engine():
    return Engine()


@pytest.fixture(scope="module")
def upload():
    """A photograph that no sample is."""
    buffer = io.BytesIO()
    images.sample("coffee").image.resize((300, 420)).save(buffer, "JPEG")
    return images.decode(buffer.getvalue(), UPLOAD)


@pytest.fixture(scope="module")
def wall(engine, upload):
    """Two pictures and requests of every kind; the last map of the second picture is not there yet."""
    chelsea = images.sample("chelsea")
    libra = METHODS["libra-cam"]
    first = engine.explain(upload, Request(method=libra(size=4)))
    ids = [first.references.library.ids[index] for index in first.references.indices.tolist()]
    pinned = Request(method=libra(size=4), seed=7, limit=0.1, pinned=(ids[2],), excluded=(ids[0],))
    requests = {
        chelsea: [
            Request(method=METHODS["grad-cam"](), target=285),
            Request(method=libra(size=6), precision="bfloat16"),
        ],
        upload: [
            Request(method=METHODS["grad-cam"](), layer="conv_head"),
            replace(pinned, levels=FINE_LEVELS),
        ],
    }
    metrics = (METRICS["average-drop"](), METRICS["average-gain"]())
    rows = []
    for picture, asked in requests.items():
        figures = [engine.figures(picture, asked[:1], metrics)[0], None]
        maps = [
            Hung(request.method.title, engine.explain(picture, request), one)
            for request, one in zip(asked, figures, strict=True)
        ]
        rows.append(Line(picture, "", tuple(maps)))
    return Wall(tuple(rows), metrics, Layout(width=5, dpi=100), ("the map of LIFT-CAM on chelsea",))


@pytest.fixture(scope="module")
def packed(wall):
    return pack(wall, Silent())


@pytest.fixture
def bundle(packed, tmp_path):
    path = tmp_path / "bundle.zip"
    path.write_bytes(packed.archive)
    return path


@pytest.fixture(scope="module")
def files(packed):
    archive = zipfile.ZipFile(io.BytesIO(packed.archive))
    return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def manifest(files):
    return json.loads(files["manifest.json"])


def rewritten(path, **changed):
    """The same ZIP file with other contents of some files; two underscores stand for a full stop."""
    with zipfile.ZipFile(path) as archive:
        content = {name: archive.read(name) for name in archive.namelist()}
    content |= {name.replace("__", "."): data for name, data in changed.items()}
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in content.items():
            archive.writestr(name, data)
    return path


def altered(path, manifest, change):
    """The same with a changed manifest."""
    document = json.loads(json.dumps(manifest))
    change(document)
    return rewritten(path, manifest__json=json.dumps(document))


def test_the_manifest_lists_every_file_with_its_digest(files, manifest):
    listed = manifest["files"]
    assert {*files} == {*listed, "manifest.json"}
    assert {
        name: hashlib.sha256(data).hexdigest() for name, data in files.items() if name in listed
    } == listed
    named = {name for entry in manifest["explanations"] for name in entry["files"].values()}
    assert named < {*listed}
    assert len(manifest["explanations"]) == 4


def test_the_files_are_what_is_on_the_wall(files, manifest, wall):
    for number, row in enumerate(wall.rows, 1):
        pixels = np.asarray(Image.open(io.BytesIO(files[f"pictures/{number:02}.png"])))
        assert np.array_equal(pixels, row.picture.pixels)
        for hung in row.maps:
            name = f"{number:02}-{hung.explanation.request.method.name}"
            saliency = np.load(io.BytesIO(files[f"maps/{name}.npy"]), allow_pickle=False)
            assert saliency.dtype == np.float32
            assert np.array_equal(saliency, hung.explanation.attribution.saliency.numpy())
            size = Image.open(io.BytesIO(files[f"overlays/{name}.png"])).size
            assert size == (row.picture.width, row.picture.height)
    curves = list(csv.DictReader(io.StringIO(files["calibration.csv"].decode())))
    assert len(curves) == 3 * 10 + len(FINE_LEVELS)
    assert sum(row["recommended"] == "yes" for row in curves) <= 4
    values = list(csv.DictReader(io.StringIO(files["faithfulness.csv"].decode())))
    assert len(values) == 2 * 2 * 2
    assert all(row["class"] and row["settings"].startswith("fill: mean") for row in values)
    assert "LIFT-CAM on chelsea" in files["README.md"].decode()
    for entry in manifest["explanations"]:
        assert ("figures" in entry) == (entry["method"]["name"] == "grad-cam")


def test_equal_walls_give_equal_bundles(wall, packed):
    assert pack(wall, Silent()).archive == packed.archive
    assert replace(wall, missing=()).identity != wall.identity == replace(wall).identity


def test_several_maps_of_a_method_and_a_picture_have_names_of_their_own(engine, upload, tmp_path):
    """A wall of layers: two rows of one picture, and its photograph once."""
    layers = ("blocks.2", "blocks.6")
    lines = [
        Line(
            upload,
            METHODS[name].title,
            tuple(
                Hung(layer, engine.explain(upload, Request(layer=layer, method=METHODS[name]())))
                for layer in layers
            ),
        )
        for name in ("grad-cam", "layer-cam")
    ]
    taken = Wall(tuple(lines), (), Layout(width=6, dpi=72))
    path = tmp_path / "layers.zip"
    path.write_bytes(pack(taken, Silent()).archive)
    made = list(remake(opened(path), engine=engine))
    assert [(one.kept.request.method.name, one.kept.request.layer, one.verdict) for one in made] == [
        (name, layer, "bit-equal") for name in ("grad-cam", "layer-cam") for layer in layers
    ]
    assert [one.kept.map_file for one in made] == [
        f"maps/01-{name}.npy" for name in ("grad-cam", "grad-cam-2", "layer-cam", "layer-cam-2")
    ]
    with zipfile.ZipFile(path) as archive:
        assert [name for name in archive.namelist() if name.startswith("pictures/")] == ["pictures/01.png"]
    shown = texts(grid(rows(taken), Layout(width=6, dpi=72)))
    assert {*layers} < {*shown}
    assert sum("Layer-CAM" in text for text in shown) == 1


def extended(explanation, saliency, extent):
    """The same with another map, of one value, and extent."""
    made = explanation.attribution
    flat = torch.full_like(made.saliency, saliency)
    changed = replace(made, saliency=flat, extent=None if extent is None else torch.tensor(extent))
    return replace(explanation, attribution=changed)


SHARED = Layout(width=5, dpi=100, colour_map="greys", opacity=1, shared=True, classes=False, photograph=False)


@pytest.mark.parametrize(
    ("first", "second", "greys", "ticks"),
    [
        ((0.5, (0.0, 4.0)), (1.0, (0.0, 1.0)), (128, 64), ["0", "2", "4"]),
        ((0.5, (1.0, 3.0)), (1.0, (-1.0, 1.0)), (191, 128), ["-1", "1", "3"]),
        ((0.5, None), (1.0, None), (128, 255), ["0", "0.5", "1"]),
    ],
)
def test_in_the_figure_the_maps_of_a_method_share_a_scale(engine, upload, first, second, greys, ticks):
    explanation = engine.explain(upload, Request())
    maps = [Hung("Grad-CAM", extended(explanation, *one)) for one in (first, second)]
    taken = Wall(tuple(Line(upload, "", (one,)) for one in maps), (), SHARED)
    figure = grid(rows(taken), SHARED)
    middles = [axes.images[0].get_array() for axes in figure.axes[:2]]
    assert tuple(int(image[image.shape[0] // 2, image.shape[1] // 2, 0]) for image in middles) == greys
    assert [label.get_text() for label in figure.axes[2].get_yticklabels()] == ticks
    files = zipfile.ZipFile(io.BytesIO(pack(taken, Silent()).archive))
    for name, grey in zip(("01-grad-cam", "01-grad-cam-2"), greys, strict=True):
        drawn = Image.open(io.BytesIO(files.read(f"overlays/{name}.png")))
        assert drawn.getpixel((drawn.width // 2, drawn.height // 2)) == (grey,) * 3
        saved = np.load(io.BytesIO(files.read(f"maps/{name}.npy")))
        assert saved.max() in (0.5, 1), "the map itself stays from 0 to 1"


def look(view, **how):
    """A figure of nothing but the maps."""
    return Layout(view, "greys", width=4, dpi=100, photograph=False, classes=False, bar=False, **how)


def crop(explanation, picture):
    """Left, top, right and bottom of what the network sees, in pixels."""
    sides = (picture.width, picture.height) * 2
    return [round(share * side) for share, side in zip(explanation.box, sides, strict=True)]


def inside(explanation, picture, image):
    """What a picture file shows of the crop, without the line around it."""
    left, top, right, bottom = crop(explanation, picture)
    return np.asarray(image)[top + 1 : bottom - 1, left + 1 : right - 1].astype(float)


def enlarged(values, explanation, picture):
    left, top, right, bottom = crop(explanation, picture)
    resized = torch.nn.functional.interpolate(
        torch.as_tensor(values)[None, None], (bottom - top, right - left), mode="bilinear"
    )
    return resized[0, 0, 1:-1, 1:-1].numpy().astype(float)


@pytest.fixture(scope="module")
def seen(engine, upload):
    """A map with a signed map of both signs, smaller than the photograph in both directions."""
    explanation = engine.explain(upload, Request(target=285))
    small = torch.nn.functional.avg_pool2d(explanation.attribution.saliency[None], 2)[0]
    signed = explanation.attribution.signed
    assert float(signed.min()) < 0 < float(signed.max())
    return replace(explanation, attribution=replace(explanation.attribution, saliency=small))


def naive(explanation, picture, view, cut):
    """The pixels of a view, computed another way."""
    photograph = inside(explanation, picture, picture.image)
    saliency = explanation.attribution.saliency.numpy()
    values = enlarged(saliency, explanation, picture)[..., None]
    if view == "overlay":
        return 0.45 * photograph + 0.55 * 255 * values
    if view == "heat":
        return np.repeat(255 * values, 3, axis=2)
    if view == "signed":
        signed = enlarged(explanation.attribution.signed.numpy(), explanation, picture)[..., None]
        share = signed / np.abs(signed).max()
        orange, blue = np.array([230, 118, 28]), np.array([56, 146, 208])
        return 255 + np.abs(share) * (np.where(share > 0, orange, blue) - 255)
    lowest = np.sort(saliency.ravel())[saliency.size * cut // 100]
    if view == "cut":
        kept = enlarged(np.where(saliency < lowest, 0, saliency), explanation, picture)[..., None]
        return kept * photograph + (1 - kept) * np.array(explanation.fill)
    return np.where(values < lowest, photograph * 105 / 255, photograph)


@pytest.mark.parametrize("cut", [None, 70])
@pytest.mark.parametrize("view", ["overlay", "heat", "signed", "cut", "outline"])
def test_the_pictures_follow_the_view_of_the_page(seen, upload, view, cut):
    layout = look(view, cut=cut)
    taken = Wall((Line(upload, "", (Hung("Grad-CAM", seen),)),), (), layout)
    files = zipfile.ZipFile(io.BytesIO(pack(taken, Silent()).archive))
    with Image.open(io.BytesIO(files.read("overlays/01-grad-cam.png"))) as drawn:
        shown = inside(seen, upload, drawn)
        [axes] = grid(rows(taken), layout).axes
        in_the_figure = axes.images[0].get_array()
        size = in_the_figure.shape[1::-1]
        assert np.array_equal(in_the_figure, np.asarray(drawn.resize(size, Image.Resampling.LANCZOS)))
    expected = naive(seen, upload, view, cut or seen.calibration.cut)
    off = np.abs(shown - expected).max(axis=2) > 2
    if view == "outline":
        rim = (shown == 255).all(axis=2)
        assert 0.005 < rim.mean() < 0.1
        assert not (off & ~rim).any()
    else:
        assert off.mean() < 0.001
    signed = np.load(io.BytesIO(files.read("signed/01-grad-cam.npy")), allow_pickle=False)
    assert np.array_equal(signed, seen.attribution.signed.numpy())


def test_signed_maps_of_a_method_share_a_scale(seen, upload):
    """At half the reach the colours are half way to white; the bar says the values."""
    made = seen.attribution
    half = replace(seen, attribution=replace(made, signed=made.signed / 2))
    taken = Wall(
        tuple(Line(upload, "", (Hung("Grad-CAM", one),)) for one in (seen, half)), (), look("signed")
    )
    shared = replace(taken, layout=replace(taken.layout, shared=True, bar=True))

    def files(wall):
        archive = zipfile.ZipFile(io.BytesIO(pack(wall, Silent()).archive))
        pictures = (archive.read(f"overlays/{name}.png") for name in ("01-grad-cam", "01-grad-cam-2"))
        return [inside(seen, upload, Image.open(io.BytesIO(one))) for one in pictures]

    first, second = files(taken)
    assert np.array_equal(first, second)
    first, second = files(shared)
    assert second == pytest.approx((255 + first) / 2, abs=3)
    reach = float(made.signed.abs().max())
    ticks = [label.get_text() for label in grid(rows(shared), shared.layout).axes[-1].get_yticklabels()]
    assert ticks == [f"{-reach:.3g}", "0", f"{reach:.3g}"]
    own = grid(rows(taken), replace(taken.layout, bar=True))
    assert "one scale per map" in texts(own)


def test_a_map_against_the_class_is_blank_but_in_the_signed_view(seen, upload):
    made = replace(
        seen.attribution, blank=Blank.AGAINST, saliency=torch.zeros_like(seen.attribution.saliency)
    )
    line = [Row(upload, "", [("Grad-CAM", replace(seen, attribution=made))])]
    assert "blank" in texts(grid(line, look("overlay")))
    assert "blank" not in texts(grid(line, look("signed")))


def test_the_bar_of_several_scales_says_so(wall):
    shared = texts(grid(rows(wall), replace(SHARED, width=8)))
    assert {"0", "high", "one scale per method"} < {*shared}
    assert "one scale per method" not in texts(grid(rows(wall), replace(SHARED, width=8, shared=False)))


def test_nothing_to_take_is_refused():
    with pytest.raises(ExplorerError, match="no map"):
        pack(Wall((), (), Layout()), Silent())


def texts(figure):
    return [text.get_text() for text in figure.findobj(Text)]


def rows(wall):
    return [
        Row(row.picture, row.title, [(one.column, one.explanation) for one in row.maps]) for row in wall.rows
    ]


def test_the_figure_has_titles_names_and_classes(wall):
    shown = texts(grid(rows(wall), Layout(width=8, dpi=72)))
    for title in ("Picture", "Grad-CAM", "Libra-CAM"):
        assert shown.count(title) == 1
    label = wall.rows[0].maps[0].explanation.label
    assert any("chelsea" in text and label in text for text in shown)
    assert any(UPLOAD in text for text in shown)
    bare = texts(grid(rows(wall), Layout(width=8, dpi=72, photograph=False, classes=False, bar=False)))
    assert "Picture" not in bare
    assert not any(label in text for text in bare)


@pytest.mark.parametrize(("width", "dpi"), [(5.0, 100), (3.3, 150), (17 / 2.54, 72)])
def test_the_figure_has_the_size_that_was_asked_for(wall, width, dpi):
    figure = grid(rows(wall), Layout(width=width, dpi=dpi))
    image = Image.open(io.BytesIO(encoded(figure, "png")))
    assert image.width == pytest.approx(width * dpi, abs=1)
    assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.1)
    svg = ElementTree.fromstring(encoded(figure, "svg"))
    assert float(svg.get("width").removesuffix("pt")) == pytest.approx(72 * width, abs=72 / dpi)
    pdf = encoded(figure, "pdf")
    assert pdf.startswith(b"%PDF-")
    assert pdf.rstrip().endswith(b"%%EOF")
    [box] = re.findall(rb"/MediaBox \[ ?0 0 ([\d.]+) ([\d.]+)", pdf)
    assert float(box[0]) == pytest.approx(72 * width, abs=72 / dpi)


@pytest.mark.parametrize(
    ("columns", "width", "whole"), [(2, 17, True), (8, 17, True), (3, 8.5, False), (8, 24, True)]
)
def test_what_the_figure_says_can_be_read(engine, columns, width, whole):
    """Nothing is written over the edge or over anything else, and names are only cut where there is no room."""
    pictures = [images.sample(name) for name in ("astronaut", "motorcycle", "rocket")]
    maps = [(f"Method {number}", Request()) for number in range(columns)]
    drawn = [
        Row(one, "", [(title, engine.explain(one, request)) for title, request in maps]) for one in pictures
    ]
    figure = grid(drawn, Layout(width=width / 2.54, dpi=100))
    renderer = FigureCanvasAgg(figure).get_renderer()
    written = [(text.get_text(), text.get_window_extent(renderer)) for text in figure.texts]
    boxes = [box for _, box in written] + [axes.get_window_extent(renderer) for axes in figure.axes]
    for position, (_, box) in enumerate(written):
        assert box.x0 >= 0 <= box.y0
        assert box.x1 <= figure.bbox.width
        assert box.y1 <= figure.bbox.height
        assert not any(box.padded(-1).overlaps(other) for other in boxes[position + 1 :])
    if whole:
        assert not any("…" in text for text, _ in written)


def test_the_photograph_stands_in_the_figure_unchanged(upload, engine):
    """A cell of just the picture's size shows its very pixels."""
    explanation = engine.explain(upload, Request())
    for dpi in (100, 150):
        figure = grid([Row(upload, "", [("Grad-CAM", explanation)])], Layout(width=4, dpi=dpi, classes=False))
        image = np.asarray(Image.open(io.BytesIO(encoded(figure, "png"))).convert("RGB"))
        box = figure.axes[0].get_position()
        height, width = image.shape[:2]
        size = (round(box.width * width), round(box.height * height))
        top, left = round((1 - box.y1) * height), round(box.x0 * width)
        expected = np.asarray(upload.image.resize(size, Image.Resampling.LANCZOS))
        assert np.array_equal(image[top : top + size[1], left : left + size[0]], expected)


@pytest.mark.parametrize(
    ("layout", "words"),
    [(Layout(width=1, dpi=100), "do not fit"), (Layout(width=24, dpi=600), "50 million")],
)
def test_figures_that_cannot_be_drawn_are_refused(wall, layout, words):
    with pytest.raises(ExplorerError, match=words):
        grid(rows(wall), layout)


def entries(text):
    """The entries of a BibTeX file, by key, split where the braces balance."""
    found, depth, start = {}, 0, 0
    for place, character in enumerate(text):
        if character == "{":
            depth += 1
        elif character == "}":
            depth -= 1
            if not depth:
                entry = text[start : place + 1].strip()
                found[re.match(r"@(?:inproceedings|article|misc)\{([^,]+),", entry)[1]] = entry
                start = place + 1
        assert depth >= 0
    assert not depth
    assert not text[start:].strip()
    return found


def test_every_paper_is_one_entry():
    papers = [one.paper for one in (*METHODS.values(), *METRICS.values())]
    found = entries(bibtex([*papers, *papers]))
    assert len(found) == len({paper.link for paper in papers})
    for paper in papers:
        [entry] = [entry for entry in found.values() if f"{{{paper.link}}}" in entry]
        assert f"year = {{{paper.year}}}" in entry
        assert " and ".join(paper.authors.split(", ")) in entry


def test_what_tex_would_obey_is_escaped():
    paper = Paper("100 % & #1_a", "Müller", "A & B", 2020, "https://example.org/a_b%20c")
    [entry] = entries(bibtex([paper])).values()
    assert r"100 \% \& \#1\_a" in entry
    assert r"booktitle = {A \& B}" in entry
    assert "{https://example.org/a_b%20c}" in entry


def test_the_references_are_those_of_the_methods_and_metrics(files):
    links = {METHODS[name].paper.link for name in ("grad-cam", "libra-cam")}
    links |= {METRICS[name].paper.link for name in ("average-drop", "average-gain")}
    assert len(entries(files["references.bib"].decode())) == len(links)


def again(path, tmp_path, capsys, *photos):
    code = main(["remake", str(path), *map(str, photos), "--out", str(tmp_path / "again")])
    return SimpleNamespace(code=code, **capsys.readouterr()._asdict())


def test_a_new_process_makes_the_same_maps(bundle, tmp_path, files):
    """Given class, options, pin, exclusion, seed, limit, precision and levels: all bit-equal."""
    command = [sys.executable, "-m", "explorer", "remake", bundle, "--out", tmp_path / "again"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All 4 maps are bit-equal" in done.stdout
    for name in ("01-grad-cam", "01-libra-cam", "02-grad-cam", "02-libra-cam"):
        assert (tmp_path / "again" / f"{name}.npy").read_bytes() == files[f"maps/{name}.npy"]


def test_a_bundle_is_not_made_again_over_itself(tmp_path, bundle, capsys):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "here")
    before = (tmp_path / "here" / "manifest.json").read_bytes()
    assert main(["remake", str(tmp_path / "here"), "--out", str(tmp_path / "x" / ".." / "here")]) == 2
    assert "name another folder" in capsys.readouterr().err
    assert (tmp_path / "here" / "manifest.json").read_bytes() == before


def test_an_unpacked_bundle_and_the_python_lines_of_its_readme(bundle, tmp_path, files):
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "bundle")
    made = list(remake(opened(tmp_path / "bundle"), engine=Engine()))
    assert [one.verdict for one in made] == ["bit-equal"] * 4
    [code] = re.findall(r"```python\n(.*?)```", files["README.md"].decode(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("bundle.zip", str(bundle))], cwd=ROOT, check=False
    )
    assert done.returncode == 0


def test_what_explain_wrote_is_made_again(tmp_path, capsys, upload):
    photo = tmp_path / "photo.jpg"
    upload.image.save(photo)
    out = tmp_path / "maps"
    assert main(["explain", str(photo), "sample:chelsea", "--method", "grad-cam", "--out", str(out)]) == 0
    capsys.readouterr()
    assert again(out, tmp_path, capsys, photo).code == 0
    lacking = again(out, tmp_path, capsys)
    assert lacking.code == 2
    assert "does not hold the photograph" in lacking.out
    assert "1 of 2 maps are bit-equal" in lacking.err


def test_a_tampered_map_is_reported(bundle, tmp_path, capsys, files):
    name = "maps/01-grad-cam.npy"
    data = bytearray(files[name])
    data[-1] ^= 1
    done = again(rewritten(bundle, **{name.replace(".", "__"): bytes(data)}), tmp_path, capsys)
    assert done.code == 2
    assert "grad-cam  Egyptian cat  the file in the bundle was changed" in done.out
    assert "3 of 4 maps are bit-equal" in done.err


def test_another_map_is_reported_with_its_distance(bundle, tmp_path, manifest, files, capsys):
    name = "maps/01-grad-cam.npy"
    values = np.load(io.BytesIO(files[name]))
    values[0, 0] = 0.5 + values[0, 0]
    buffer = io.BytesIO()
    np.save(buffer, values)
    rewritten(bundle, **{name.replace(".", "__"): buffer.getvalue()})
    altered(
        bundle, manifest, lambda d: d["files"].update({name: hashlib.sha256(buffer.getvalue()).hexdigest()})
    )
    done = again(bundle, tmp_path, capsys)
    assert done.code == 2
    assert "differs by 0.5 at most" in done.out


def test_other_versions_weights_and_libraries_are_said(bundle, tmp_path, manifest, capsys):
    def change(document):
        document["versions"]["torch"] = "1.0"
        document["explanations"][0]["backbone"]["weights_sha256"] = "0" * 64
        document["explanations"][1]["library"]["fingerprint"] = "0" * 64

    done = again(altered(bundle, manifest, change), tmp_path, capsys)
    assert f"torch {metadata.version('torch')} instead of 1.0" in done.out
    assert "the weights of efficientnet_lite0 here are others" in done.out
    assert "has another fingerprint" in done.out


def test_a_library_that_is_not_here_is_said(bundle, tmp_path, manifest, capsys):
    done = again(
        altered(bundle, manifest, lambda d: d["explanations"][1]["library"].update(name="of nobody")),
        tmp_path,
        capsys,
    )
    assert done.code == 2
    assert "cannot be made again" in done.out
    assert "of nobody" in done.out


def _set(*path, to):
    def change(document):
        for key in path[:-1]:
            document = document[key]
        document[path[-1]] = to

    return change


@pytest.mark.parametrize(
    "change",
    [
        _set("explanations", to={}),
        _set("explanations", 0, "method", "options", to={"size": 1}),
        _set("explanations", 0, "method", "name", to="../../x"),
        _set("explanations", 0, "class", "index", to="285"),
        _set("explanations", 0, "picture", "sha256", to="../x"),
        _set("explanations", 1, "library", "rule", to="__class__"),
        _set("explanations", 1, "library", "pinned", to=[{}]),
        _set("explanations", 1, "library", "seed", to=-1),
        _set("explanations", 1, "library", "seed", to=2**70),
        _set("explanations", 0, "levels_percent", to=[10**9]),
        _set("explanations", 0, "precision", to="int4"),
        _set("machine", "threads", to="all"),
        _set("files", to=None),
        _set("files", "maps/01-grad-cam.npy", to=5),
    ],
)
def test_a_manifest_that_is_none_is_refused(bundle, manifest, change):
    with pytest.raises(ExplorerError) as refused:
        opened(altered(bundle, manifest, change))
    assert str(refused.value).endswith(".")


def test_hostile_files_are_refused_in_a_sentence(bundle, tmp_path, monkeypatch):
    def refused(data):
        bundle.write_bytes(data)
        with pytest.raises(BundleError) as error:
            opened(bundle)
        return str(error.value)

    def packed(name, data, kind=zipfile.ZIP_DEFLATED):
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", kind) as archive:
            archive.writestr(name, data)
        return buffer.getvalue()

    assert "no ZIP file" in refused(b"PK\x03\x04 not a ZIP file")
    assert "holds no" in refused(packed("readme.txt", "nothing"))
    assert "understood" in refused(packed("manifest.json", "[" * 100_000))
    assert "understood" in refused(packed("manifest.json", "9" * 10_000))
    assert "rare way" in refused(packed("manifest.json", "{}", zipfile.ZIP_LZMA))
    assert "over 5000 files" in refused(b"PK\x01\x02" * 5001)
    monkeypatch.setattr("explorer.bundle.contents.MAX_FILE", 10_000)
    assert "unpacked" in refused(packed("manifest.json", " " * 20_000))
    damaged = bytearray(packed("manifest.json", "{" * 5000, zipfile.ZIP_STORED))
    damaged[100] ^= 1
    assert "damaged" in refused(bytes(damaged))
    with pytest.raises(BundleError, match="no file and no folder"):
        opened(tmp_path / "nowhere.zip")


def test_no_name_in_a_bundle_reaches_the_disk(bundle, tmp_path, manifest):
    """Names that leave the folder are looked up among the bundle's own files only, links not among them."""
    secret = tmp_path / "secret.npy"
    secret.write_bytes(b"secret")
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "bundle")
    (tmp_path / "bundle" / "link.npy").symlink_to(secret)
    for name in ("../secret.npy", str(secret), "link.npy"):
        with pytest.raises(BundleError, match="holds no"):
            opened(tmp_path / "bundle").contents.read(name)

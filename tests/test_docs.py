"""The documents: their code runs, their commands are those of .ci/run, what they name and quote exists."""

import ast
import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import streamlit.web.server.starlette.starlette_server as streamlit_server
import torch
import torchvision
from safetensors.torch import save_file

from explorer import images
from explorer.cli import main
from explorer.cli.main import _parser
from explorer.methods import METHODS, Blank
from explorer.metrics import METRICS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(
    str(path.relative_to(ROOT))
    for pattern in ("*.md", "llms.txt", "docs/**/*.md")
    for path in ROOT.glob(pattern)
)
WRITTEN = [name for name in DOCUMENTS if not name.startswith(("docs/methods/", "docs/metrics/"))]


def text(name):
    return (ROOT / name).read_text("utf-8")


def blocks(name, wanted):
    found = re.findall(r"^```(\w+)\n(.*?)^```$", text(name), re.MULTILINE | re.DOTALL)
    return [code for language, code in found if language == wanted]


def prose(name):
    return re.sub(r"^```.*?^```$", "", text(name), flags=re.MULTILINE | re.DOTALL)


def commands(name):
    return [line for code in blocks(name, "sh") for line in code.splitlines()]


FILES = {code.splitlines()[0].removeprefix("# "): code for code in blocks("docs/extend.md", "python")}
FILES = {place: code for place, code in FILES.items() if place.startswith("explorer/")}
PYTHON = [code for name in ("README.md", "docs/extend.md") for code in blocks(name, "python")]
PYTHON = [code for code in PYTHON if code not in FILES.values()]
COMMANDS = commands("README.md")
SOURCES = {path: ast.parse(path.read_text("utf-8")) for path in sorted((ROOT / "explorer").rglob("*.py"))}
PREFIXES = (["python", "-m", "explorer"], ["cam-explorer"])
FRAGMENTS = {"maps/photo/", "maps/manifest.json", "libra-cam.png", "libra-cam.npy", "photo.jpg"}
FRAGMENTS |= {"results/", "table.md", "pictures.csv"}


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """A folder with what the README's commands expect: a photograph, labelled photographs, and a checkpoint."""
    folder = tmp_path_factory.mktemp("workplace")
    (folder / "photos").mkdir()
    images.sample("chelsea").image.save(folder / "photo.jpg")
    save_file(torchvision.models.resnet18(num_classes=3).state_dict(), folder / "weights.safetensors")
    (folder / "names.txt").write_text("cat\ndog\nhen\n")
    with (folder / "labels.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "class_index"])
        for number, identifier in enumerate(("coffee", "rocket")):
            images.sample(identifier).image.save(folder / "photos" / f"{identifier}.jpg")
            rows.writerow([f"{identifier}.jpg", number])
    return folder


def arguments(command):
    """What follows the program's name in one of our commands; None for another program."""
    words = shlex.split(command)
    return next((words[len(prefix) :] for prefix in PREFIXES if words[: len(prefix)] == prefix), None)


@pytest.mark.parametrize("code", PYTHON, ids=range(1, len(PYTHON) + 1))
def test_python_runs(code, workplace, tmp_path):
    (tmp_path / "block.py").write_text(code, "utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(tmp_path / "block.py")]
    done = subprocess.run(command, cwd=workplace, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_commands_run(workplace, monkeypatch, capsys):
    """In one folder and in the order of the document, as a reader does."""
    monkeypatch.chdir(workplace)
    ran = 0
    for command in COMMANDS:
        words = arguments(command)
        if words is None:
            assert ".venv/bin/pip install" in command
        elif words[0] == "serve":
            assert _parser().parse_args(words).streamlit_options
        else:
            assert main(words) == 0, f"{command}: {capsys.readouterr().err}"
            ran += 1
    assert ran >= 4
    for name in ("maps/photo/libra-cam.png", "maps/photo/libra-cam.npy", "maps/manifest.json"):
        assert (workplace / name).is_file()
    [library] = {entry["library"]["name"] for entry in _manifest(workplace)["explanations"]}
    assert library == "mine"


def _manifest(folder):
    return json.loads((folder / "maps" / "manifest.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def extended(workplace, tmp_path_factory):
    """A copy in which docs/extend.md has been followed to the letter."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "explorer", folder / "explorer", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "docs", folder / "docs", ignore=shutil.ignore_patterns("*.jpg", "*.png"))
    (folder / "photos").mkdir()
    for name in ("coffee.jpg", "rocket.jpg"):
        shutil.copy(workplace / "photos" / name, folder / "photos")
    for place, code in FILES.items():
        assert not (folder / place).exists()
        (folder / place).write_text(code, "utf-8")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), environment["PATH"]])
    for command in commands("docs/extend.md"):
        done = subprocess.run(
            command, shell=True, cwd=folder, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    return folder


def test_a_method_is_one_file(extended):
    [made] = _manifest(extended)["explanations"]
    assert made["method"]["name"] == "fem" not in METHODS
    assert made["method"]["options"] == {"deviations": 1.5}
    assert (extended / "maps" / made["files"]["map"]).is_file()
    assert "`deviations` | 2.0 | 0.0 to 5.0" in (extended / "docs/methods/fem.md").read_text("utf-8")


def test_a_metric_is_one_file(extended):
    with (extended / "results" / "pictures.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["method"] for row in rows} == {"grad-cam", "fem"}
    assert all(0 < float(row["sparseness"]) < 1 for row in rows)
    assert "sparseness" not in METRICS
    assert "(metrics/sparseness.md)" in (extended / "docs/metrics.md").read_text("utf-8")


def test_the_metric_to_copy_is_the_gini_index(monkeypatch):
    """Against its other definition, the mean difference of two values over twice their mean."""
    monkeypatch.setattr("explorer.metrics.base.METRICS", {})
    space = {"__name__": "sparseness"}
    exec(FILES["explorer/metrics/sparseness.py"], space)
    for values in (torch.rand(4, 5), torch.ones(3, 3), torch.eye(4)):
        flat = values.double().flatten()
        expected = (flat[:, None] - flat).abs().mean() / (2 * flat.mean())
        found = space["Sparseness"]().value(SimpleNamespace(saliency=values), torch.empty(0))
        assert found == pytest.approx(float(expected))


def test_two_commands_set_everything_up():
    start, test = [command for command in COMMANDS if arguments(command) is None]
    assert start.endswith("-r requirements.txt && .venv/bin/streamlit run app.py")
    assert test.endswith("-r requirements-test.txt && .venv/bin/python -m pytest")
    assert test in (ROOT / ".ci" / "run").read_text("utf-8").splitlines()


def test_changelog_and_citation_have_the_version():
    [version] = re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert f"\n## [{version}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert f"\nversion: {version}\n" in (ROOT / "CITATION.cff").read_text("utf-8")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_local_links_resolve(name):
    for target in re.findall(r"\]\(([^)]+)\)", prose(name)):
        if not target.startswith("https://"):
            path, _, section = target.partition("#")
            found = (ROOT / name).parent / path
            assert found.exists(), target
            if section:
                headings = re.findall(r"^#+ (.*)$", found.read_text("utf-8"), re.MULTILINE)
                assert section in {
                    re.sub(r"[^\w -]", "", line.lower()).replace(" ", "-") for line in headings
                }


@pytest.mark.parametrize("name", WRITTEN)
def test_named_files_exist(name):
    for words in re.findall(r"`([^`\n]+)`", prose(name)):
        looks_like_a_path = re.fullmatch(r"\.?\w[\w./-]*", words) and re.search(
            r"/|\.(py|toml|txt|md)$", words
        )
        if looks_like_a_path and words not in FRAGMENTS:
            assert any((folder / words).exists() for folder in (ROOT, ROOT / "explorer")), words


def test_no_heading_stands_twice():
    for name in WRITTEN:
        headings = re.findall(r"^## .*$", text(name), re.MULTILINE)
        assert name == "CHANGELOG.md" or len(headings) == len(set(headings)), name


def test_the_map_for_language_models_has_the_form_of_llmstxt():
    """A title, a summary, sections of links with a note each; and it names every command."""
    lines = text("llms.txt").splitlines()
    assert lines[0].startswith("# ") and lines[2].startswith("> ")
    sections = text("llms.txt").split("\n## ")[1:]
    assert [section.splitlines()[0] for section in sections] == ["Docs", "Source", "Optional"]
    for section in sections:
        assert all(re.fullmatch(r"- \[.+\]\(\S+\): .+", line) for line in section.splitlines()[1:] if line)
    [known] = [action.choices for action in _parser()._actions if action.choices]
    assert all(f"`{command}`" in text("llms.txt") for command in known)
    import explorer

    named = set(re.findall(r"`(\w+)[(`]", text("llms.txt").split("\nPython, ")[1].split("\n## ")[0]))
    assert named - {"label", "probability", "calibration"} <= {*explorer.__all__, "Explanation"}


def sentences():
    """What the source can say: each text of it, with … for what is filled in."""
    trees = [*SOURCES.values(), ast.parse(Path(streamlit_server.__file__).read_text("utf-8"))]
    for node in (node for tree in trees for node in ast.walk(tree)):
        if isinstance(node, ast.JoinedStr):
            yield "".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.value.replace("%s", "…")


def test_troubleshooting_quotes_what_is_said():
    said = "\n".join(sentences())
    quoted = re.findall(r"^### `(.*)`$", text("docs/troubleshooting.md"), re.MULTILINE)
    assert len(quoted) > 20
    for words in quoted:
        assert words in said, words
    for blank in Blank:
        assert any(words in blank for words in quoted), blank


def test_deploying_names_every_variable():
    """The table has those that the source reads, and no other."""
    read = set()
    for path, tree in SOURCES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call | ast.Subscript) and "os.environ" in (
                ast.unparse(node.func if isinstance(node, ast.Call) else node.value)
            ):
                name = node.args[0] if isinstance(node, ast.Call) else node.slice
                assert isinstance(name, ast.Constant), f"{path}: {ast.unparse(node)}"
                read.add(name.value)
        assert "getenv" not in path.read_text("utf-8")
    assert set(re.findall(r"^\| `(\w+)` \|", text("docs/deploy.md"), re.MULTILINE)) == read


def test_screenshot_is_small():
    assert (ROOT / "docs" / "compare.png").stat().st_size < 700_000

"""The documents: their code runs, their commands are those of .ci/run, what they name exists."""

import csv
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torchvision
from safetensors.torch import save_file

from explorer import images
from explorer.cli import main
from explorer.cli.main import _parser
from explorer.methods import METHODS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted(path.name for path in ROOT.glob("*.md"))
README = (ROOT / "README.md").read_text("utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]
COMMANDS = [line for language, code in BLOCKS if language == "sh" for line in code.splitlines()]
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
        for number, identifier in enumerate(images.SAMPLES):
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


def test_a_method_is_one_file(tmp_path):
    """The README's example, put where it says, is there without another edit."""
    [code] = [code for code in PYTHON if "@register" in code]
    place = code.splitlines()[0].removeprefix("# ")
    shutil.copytree(ROOT / "explorer", tmp_path / "explorer", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / place).write_text(code, "utf-8")
    command = [sys.executable, "-m", "explorer", "explain", "sample:coffee", "--method", "fem"]
    command += ["--out", "maps", "--json"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    [made] = json.loads(done.stdout)["explanations"]
    assert made["method"]["name"] == "fem" not in METHODS
    assert (tmp_path / "maps" / made["files"]["map"]).is_file()


def test_the_references_are_those_of_the_declarations(tmp_path):
    command = [sys.executable, ROOT / "docs" / "make_reference.py", tmp_path]
    subprocess.run(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)
    for name in ("methods.md", "metrics.md"):
        assert (tmp_path / name).read_text("utf-8") == (ROOT / "docs" / name).read_text("utf-8")


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
    targets = re.findall(r"\]\(([^)]+)\)", (ROOT / name).read_text("utf-8"))
    for target in targets:
        if not target.startswith("https://"):
            assert (ROOT / target.split("#")[0]).exists(), target


@pytest.mark.parametrize("name", DOCUMENTS)
def test_named_files_exist(name):
    text = re.sub(r"^```.*?^```$", "", (ROOT / name).read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
    for words in re.findall(r"`([^`\n]+)`", text):
        looks_like_a_path = re.fullmatch(r"\.?\w[\w./-]*", words) and re.search(
            r"/|\.(py|toml|txt|md)$", words
        )
        if looks_like_a_path and words not in FRAGMENTS:
            assert any((folder / words).exists() for folder in (ROOT, ROOT / "explorer")), words


def test_screenshot_is_small():
    assert (ROOT / "docs" / "compare.png").stat().st_size < 700_000

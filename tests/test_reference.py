"""The reference: a page for each method and metric, as its declaration says, whose lines run."""

import re
import shlex
from functools import partial
from pathlib import Path

import papers
import pytest
import torch
from torch import nn

import explorer
from docs import make_reference
from explorer import Backbone, Engine, Preprocessing, Request
from explorer.cli.flags import configured
from explorer.cli.main import _parser
from explorer.declaration import options_of, parse
from explorer.methods import METHODS, Blank
from explorer.metrics import METRICS
from explorer.metrics import find as find_metric
from explorer.probe import Probe

DOCS = Path(__file__).parents[1] / "docs"


def text(kind, name):
    return (DOCS / kind / f"{name}.md").read_text("utf-8")


def block(kind, name, language):
    [found] = re.findall(rf"^```{language}\n(.*?)^```$", text(kind, name), re.MULTILINE | re.DOTALL)
    return found


def words(kind, name):
    """The words of the shell command after the program's name."""
    *program, _ = found = shlex.split(block(kind, name, "sh"))
    assert program[:3] == ["python", "-m", "explorer"]
    return found[3:]


@pytest.fixture(scope="module")
def small():
    """A network of the usual input whose passes cost next to nothing, silent on a black picture, with a head that is
    pooled and linear."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 16, 16, bias=False), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )
    seen = Preprocessing(224, (224, 224), "bilinear", (0.5,) * 3, (0.5,) * 3)
    return Backbone("small", model, seen, ("cat", "dog", "hen"))


def run(kind, name):
    namespace = {}
    exec(block(kind, name, "python"), namespace)
    return namespace


def test_the_pages_are_those_of_the_declarations(tmp_path):
    """Each is what the generator makes now, none is missing, and none is left over."""
    (tmp_path / "methods").mkdir()
    (tmp_path / "methods" / "gone.md").write_text("of a method that is no more")
    make_reference.write(tmp_path)
    made = {path.relative_to(tmp_path): path.read_text("utf-8") for path in tmp_path.rglob("*.md")}
    pages = (path for pattern in ("met*.md", "met*/*") for path in DOCS.glob(pattern))
    here = {path.relative_to(DOCS): path.read_text("utf-8") for path in pages}
    assert made == here, "Run docs/make_reference.py."


@pytest.mark.parametrize("name", METHODS)
def test_a_page_of_a_method_runs(name, small, monkeypatch):
    monkeypatch.setattr(explorer, "explain", partial(explorer.explain, backbone=small, library="on-the-fly"))
    found = run("methods", name)
    assert found["explanation"].attribution.saliency.shape == (224, 224)
    parsed = _parser().parse_args(words("methods", name))
    assert parsed.methods == [name]
    assert configured(METHODS[name], parsed) == found["method"]


@pytest.mark.parametrize("name", METRICS)
def test_a_page_of_a_metric_runs(name, small, monkeypatch):
    engine = Engine()
    engine.add(small)
    monkeypatch.setattr(explorer, "Engine", lambda: engine)
    monkeypatch.setattr(explorer, "Request", partial(Request, backbone=small.name))
    found = run("metrics", name)
    assert found["figures"].plain.keys() == {str(found["metric"])}
    parsed = _parser().parse_args(words("metrics", name))
    assert type(parse(parsed.metrics, find_metric)) is METRICS[name]
    assert (parsed.boxes is not None) == METRICS[name].needs_objects


@pytest.mark.parametrize(("kind", "known"), [("methods", METHODS), ("metrics", METRICS)])
def test_a_page_says_what_is_declared(kind, known):
    for name, declared in known.items():
        shown = text(kind, name).replace("\\*", "*")
        for words in (declared.title, declared.paper.link, declared.good, declared.bad, declared.cost):
            assert words in shown
        for item in options_of(declared):
            assert f"| `{item['name']}` | {item['default']} |" in shown
        assert len(declared.definition()) > 3
        assert declared.definition() in shown


@pytest.mark.parametrize("image", [0.0, 1.0, float("nan")], ids=["silent", "flat", "overflow"])
@pytest.mark.parametrize("name", [name for name in METHODS if name != "libra-cam"])
def test_a_blank_map_has_a_declared_reason(name, small, image):
    method = METHODS[name](**papers.OPTIONS.get(name, {}))
    found = method(Probe(small.cut(), torch.full((3, 224, 224), image)), 0)
    assert found.blank is None or found.blank in METHODS[name].blanks
    if image != 1.0:
        assert (found.blank is None) == (METHODS[name].family == "controls")


def test_every_reason_is_declared_by_a_method():
    assert {blank for method in METHODS.values() for blank in method.blanks} == set(Blank)

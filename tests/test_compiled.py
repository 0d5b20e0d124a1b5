"""Networks that are compiled for the machine, against the same networks as they are."""

import json
import os
import re
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from explorer import images
from explorer.backbones import Backbone, Preprocessing
from explorer.backbones.compiled import CompileError
from explorer.cli import main
from explorer.evaluation import read_csv
from explorer.metrics import Canvas, Examined, find
from explorer.probe import Probe

SEEN = Preprocessing(36, (32, 32), "bilinear", (0.5, 0.5, 0.5), (0.5, 0.5, 0.5))


@pytest.fixture
def compiler():
    if shutil.which("g++") is None:
        pytest.skip("compiling a network needs a C++ compiler, and g++ is not on this machine")


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    """Nothing that was compiled before."""
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "inductor"))
    torch.compiler.reset()


def network():
    """Two equal ones, one of which may be compiled."""
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU6(), nn.Conv2d(8, 16, 3, 2), nn.ReLU()),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 5)),
    )
    model[1].running_mean.normal_()
    return Backbone("small", model, SEEN, tuple("abcde"))


def pictures(count):
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.mark.usefixtures("compiler")
def test_a_compiled_network_gives_the_same_logits_of_any_number_of_pictures():
    plain, compiled = network(), network()
    compiled.compile()
    assert compiled.compiled
    assert not plain.compiled
    for count in (1, plain.batch, 2 * plain.batch + 1):
        with torch.inference_mode():
            torch.testing.assert_close(
                compiled(pictures(count)), plain(pictures(count)), rtol=1e-4, atol=1e-5
            )


@pytest.mark.usefixtures("compiler")
def test_gradients_flow_through_a_network_that_is_compiled_as_before():
    plain, compiled = network(), network()
    compiled.compile()
    found = []
    for backbone in (plain, compiled):
        image = pictures(2).requires_grad_()
        found += torch.autograd.grad(backbone(image)[:, 1].sum(), image)
    assert torch.equal(*found)
    assert found[0].abs().max() > 0


def test_a_machine_without_a_compiler_is_told_what_to_do(tmp_path):
    images.sample("chelsea").image.save(tmp_path / "chelsea.png")
    chosen = ["--methods", "grad-cam", "--metrics", "complexity", "--images", str(tmp_path)]
    command = [
        sys.executable,
        "-m",
        "explorer",
        "evaluate",
        *chosen,
        "--compile",
        "--out",
        str(tmp_path / "out"),
    ]
    environment = {**os.environ, "CXX": "/nowhere/g++"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert re.search("lite0 cannot be compiled .*compiler.*: install .*leave --compile out", done.stderr)
    assert not (tmp_path / "out").exists()


def test_a_network_that_becomes_another_is_refused(monkeypatch):
    for change in (0.1, torch.nan):
        monkeypatch.setattr(
            torch, "compile", lambda network, _=change, **__: lambda images: network(images) + _
        )
        with pytest.raises(CompileError, match="gives other probabilities"):
            network().compile()


def test_a_mask_that_changes_nothing_ties_whatever_compiling_rounds(monkeypatch):
    monkeypatch.setattr(torch, "compile", lambda network, **_: lambda images: network(images) * 1.0009)
    backbone = network()
    backbone.compile()
    probe = Probe(backbone.cut(), pictures(1)[0])
    target = int(probe.logits.argmax())
    everything = torch.ones(32, 32)
    shown = Examined(Canvas(probe), target, everything, lambda probe: everything)
    assert shown.probability != float(probe.logits.double().softmax(0)[target])
    assert find("ties")()(shown) == 1
    assert find("average-increase")()(shown) == 0


@pytest.mark.usefixtures("compiler", "home")
def test_a_compiled_evaluation_has_the_same_figures_and_says_so(tmp_path):
    photographs = tmp_path / "photographs"
    photographs.mkdir()
    for identifier in ("chelsea", "coffee"):
        images.sample(identifier).image.save(photographs / f"{identifier}.png")
    chosen = [
        "--methods",
        "grad-cam,score-cam:channels=8,constant",
        "--metrics",
        "average-gain,ties,deletion",
    ]
    tables = []
    for name, more in (("plain", []), ("compiled", ["--compile"])):
        out = tmp_path / name
        assert not main(["evaluate", "--images", str(photographs), *chosen, *more, "--out", str(out)])
        assert json.loads((out / "summary.json").read_text())["evaluation"]["compiled"] == bool(more)
        tables.append(read_csv(out / "pictures.csv"))
    for column in ("picture", "method", "variant", "cut", "ties"):
        assert tables[0][column].tolist() == tables[1][column].tolist()
    for column in ("average-gain", "deletion"):
        assert tables[1][column].to_numpy() == pytest.approx(tables[0][column].to_numpy(), abs=1e-4)

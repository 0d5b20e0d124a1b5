"""The arrows of ARCHITECTURE.md against the imports, and calls that must not occur in the package."""

import ast
import tomllib
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "explorer"
SOURCES = sorted(PACKAGE.rglob("*.py"))
TREES = {path: ast.parse(path.read_text("utf-8"), str(path)) for path in SOURCES}
HOOKS = {
    "backward",
    "register_forward_hook",
    "register_forward_pre_hook",
    "register_full_backward_hook",
    "register_full_backward_pre_hook",
    "register_backward_hook",
    "register_hook",
}
UNSAFE = {"pickle", "_pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(tree):
    """The dotted names that a module imports, those inside functions too."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def calls(tree):
    """The dotted name of everything called, with the call itself."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def keyword(call, name):
    return next((ast.unparse(item.value) for item in call.keywords if item.arg == name), None)


def documented():
    [block] = (ROOT / "ARCHITECTURE.md").read_text("utf-8").split("```")[1::2]
    lines = [line.split("->") for line in block.splitlines() if line.strip()]
    return {left.strip(): {name.strip() for name in right.split(",")} for left, right in lines}


def actual():
    parts = {part(path) for path in SOURCES}
    arrows = {}
    for path, tree in TREES.items():
        found = {name.split(".")[1] for name in imports(tree) if name.startswith("explorer.")}
        arrows.setdefault(part(path), set()).update(found & parts - {part(path), "errors"})
    del arrows["__main__"]
    return {name: targets for name, targets in arrows.items() if targets}


def test_arrows_are_those_of_the_document():
    assert actual() == documented()


def test_arrows_go_one_way():
    list(TopologicalSorter(documented()).static_order())


def test_document_names_every_part():
    text = (ROOT / "ARCHITECTURE.md").read_text("utf-8")
    for name in {part(path) for path in SOURCES} - {"__main__"}:
        place = f"explorer/{name}" + ("" if (PACKAGE / name).is_dir() else ".py")
        assert f"`{place}`" in text


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_streamlit_stays_in_ui(path):
    tree = TREES[path]
    found = {name for name in imports(tree) if name.split(".")[0] == "streamlit"}
    if path.relative_to(PACKAGE).as_posix() == "cli/serve.py":
        [serve] = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "_serve"]
        assert found == {"streamlit.web.cli"} == set(imports(serve)) & found
    elif part(path) != "ui":
        assert not found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_hook_and_nothing_unpickled(path):
    tree = TREES[path]
    assert not {name.split(".")[0] for name in imports(tree)} & UNSAFE
    for name, call in calls(tree):
        last = name.rsplit(".", 1)[-1]
        assert last not in HOOKS, f"{name} in line {call.lineno}"
        assert name not in ("eval", "exec", "compile"), f"{name} in line {call.lineno}"
        assert keyword(call, "allow_pickle") in (None, "False"), f"{name} in line {call.lineno}"
        if name in ("torch.load", "load_state_dict_from_url", "torch.hub.load_state_dict_from_url"):
            assert keyword(call, "weights_only") == "True", f"{name} in line {call.lineno}"


def test_every_package_is_installed():
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    there = {".".join(path.parent.relative_to(ROOT).parts) for path in SOURCES if path.name == "__init__.py"}
    assert {name for name in setuptools["packages"] if name not in setuptools["package-dir"]} == there

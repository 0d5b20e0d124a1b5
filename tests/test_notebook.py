"""The notebook: it runs from the first cell to the last, and is kept without outputs."""

import re
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

PATH = Path(__file__).parents[1] / "docs" / "explorer.ipynb"


@pytest.fixture(scope="module")
def notebook():
    found = nbformat.read(PATH, nbformat.NO_CONVERT)
    nbformat.validate(found)
    return found


def test_it_is_kept_without_outputs(notebook):
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert 8 <= len(cells) <= 14
    assert not any(cell.outputs or cell.execution_count for cell in cells)


def test_it_runs(notebook, home, monkeypatch):
    """In a kernel of its own, with the environment of the tests: an empty home, no connection."""
    monkeypatch.setenv("PYTHONPATH", str(PATH.parents[1]))
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(PATH.parent)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    said = "".join(output.text for output in outputs if output.get("name") == "stdout")
    assert re.findall("(.+) bit-equal$", said, re.MULTILINE) == ["Grad-CAM", "LIFT-CAM"]
    assert said.count("<- best") == 1
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 4
    assert not list((home / "libraries").glob("*/index.json"))

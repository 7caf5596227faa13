"""``make record`` stores outputs: all or none, and the same ones each time."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
COMMAND = "import pathlib, record; record.main(pathlib.Path('book').absolute())"
UNCLEAN = {"papermill": {"status": "completed"}, "execution": {"iopub.execute_input": "2026-01-01"}}
CELL = """import os, time
print("who, seed", seed)
print(f"it took ≈ {time.perf_counter_ns()} ms")
print("finds a stored Run:", "run" in os.listdir(os.environ["LABCODE_CACHE"]))"""


def record(folder):
    """Run the recording on ``folder/book``; return the exit code and all that it prints."""
    path = os.pathsep.join([str(ROOT / "book" / "_ext"), str(ROOT)])
    environment = {**os.environ, "PYTHONPATH": path, "LABCODE_CACHE": str(folder / "mine")}
    result = subprocess.run(
        [sys.executable, "-c", COMMAND], cwd=folder, env=environment, capture_output=True, encoding="utf-8", timeout=120
    )
    return result.returncode, result.stdout + result.stderr


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A book of one chapter that was executed by some tool, and once recorded."""
    folder = tmp_path_factory.mktemp("recorded")
    (folder / "book").mkdir()
    (folder / "mine").mkdir()
    (folder / "mine" / "run").touch()
    cells = [
        new_code_cell("seed = 7  # any", metadata={"tags": ["parameters"]}, execution_count=12),
        new_markdown_cell("Grüße", metadata=UNCLEAN),
        new_code_cell(CELL, metadata=UNCLEAN),
    ]
    notebook = new_notebook(
        cells=cells, metadata={"kernelspec": {"name": "python3", "display_name": "mine"}, **UNCLEAN}
    )
    nbformat.write(notebook, folder / "book" / "one.ipynb")
    code, log = record(folder)
    assert code == 0, log
    return folder


def test_outputs_are_stored_and_nothing_else(book):
    notebook = nbformat.read(book / "book" / "one.ipynb", as_version=4)
    assert [cell.get("execution_count") for cell in notebook.cells] == [1, None, 2]
    (output,) = notebook.cells[2].outputs
    who, took, store = output.text.splitlines()
    assert who == "who, seed 7" and took.startswith("it took ≈ ")
    assert store == "finds a stored Run: False"
    assert [dict(cell.metadata) for cell in notebook.cells] == [{"tags": ["parameters"]}, {}, {}]
    assert notebook.metadata.keys() == {"kernelspec", "language_info"}
    text = (book / "book" / "one.ipynb").read_text("utf-8")
    assert text.startswith('{\n "cells"') and text.endswith("}\n") and "Grüße" in text


def test_recording_again_changes_nothing_even_where_a_time_is_shown(book):
    before = (book / "book" / "one.ipynb").read_bytes()
    code, log = record(book)
    assert code == 0, log
    assert (book / "book" / "one.ipynb").read_bytes() == before


def test_a_failing_cell_is_named_and_no_notebook_is_touched(book, tmp_path):
    book = shutil.copytree(book, tmp_path / "copy")
    one, two = book / "book" / "one.ipynb", book / "book" / "two.ipynb"
    notebook = nbformat.read(one, as_version=4)
    notebook.cells[2].source = "print(1)"
    nbformat.write(notebook, one)
    notebook.cells[2].source = "print(2)\nseed / 0"
    nbformat.write(notebook, two)
    before = one.read_bytes(), two.read_bytes()
    code, log = record(book)
    assert code != 0
    assert all(words in log for words in ("two.ipynb", "code cell 2 of 2", "seed / 0", "ZeroDivisionError")), log
    assert (one.read_bytes(), two.read_bytes()) == before

"""nbval bites: what a chapter's stored outputs hold is compared to the letter, all but measured numbers."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent
CHAPTER = ROOT / "book" / "02_fully_connected.ipynb"  # it shows the network before it trains one
PAIRS = {  # stored output, new output, whether they count as the same
    "another number": ("≈ 96.95 % ✓ inside", "≈ 96.31 % ✓ inside", True),
    "another sign": ("gap ≈ +0.20 pp", "gap ≈ -0.05 pp", True),
    "minus sign and separators": ("≈ 1,024 images, ≈ 3e-07", "≈ −998 images, ≈ 1.2E-6", True),
    "other padding": ("| ≈ 96.95 | ≈ 8    |", "| ≈ 101   | ≈ 12.5 |", True),
    "another verdict": ("≈ 96.95 % ✓ inside", "≈ 96.95 % ✗ outside", False),
    "another plain number": ("101,770 parameters", "101,700 parameters", False),
    "another reported number": ("≈ 0.1, the report 0.2", "≈ 0.1, the report 0.3", False),
    "another unit": ("≈ 12 s", "≈ 12 ms", False),
    "no number": ("≈ 0.31", "≈ nan", False),
    "a word less": ("≈ 96.95 right", "≈ 96.95", False),
    "no mark": ("≈ 96.95", "96.95", False),
}


def run_pytest(folder, **environment):
    """Run a folder's tests and notebooks as the project does; return the outcomes, {test: passed}, and the log."""
    command = [sys.executable, "-P", "-m", "pytest", "-c", "pyproject.toml", "-n0", "-rA", "--color=no", str(folder)]
    environment = {**os.environ, **environment, "PYTHONUTF8": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=240)
    found = re.findall(r"^(PASSED|FAILED) \S+?::(Cell \d+|\S+)", result.stdout, re.M)
    return {name: outcome == "PASSED" for outcome, name in found}, result.stdout + result.stderr


def shortened(notebook):
    """A chapter up to the first code cell that shows something; and that cell."""
    index, shown = next((i, cell) for i, cell in enumerate(notebook.cells) if cell.get("outputs"))
    notebook.cells = notebook.cells[: index + 1]
    return shown


def test_only_measured_numbers_may_change(tmp_path):
    cells = [
        new_code_cell(f"print({new!r})", execution_count=n, outputs=[new_output("stream", text=f"{stored}\n")])
        for n, (stored, new, _) in enumerate(PAIRS.values(), start=1)
    ]
    nbformat.write(new_notebook(cells=cells), tmp_path / "pairs.ipynb")
    outcomes, log = run_pytest(tmp_path)
    assert outcomes == {f"Cell {n}": same for n, (_, _, same) in enumerate(PAIRS.values())}, log


def test_an_altered_output_of_a_chapter_is_seen(tmp_path):
    chapter = nbformat.read(CHAPTER, as_version=4)
    altered = shortened(chapter)
    data = next(output.data for output in altered.outputs if "101,770" in output.data["text/markdown"])
    data["text/markdown"] = data["text/markdown"].replace("101,770", "101,771")
    nbformat.write(chapter, tmp_path / CHAPTER.name)
    outcomes, log = run_pytest(tmp_path)
    *before, last = outcomes.values()
    assert before and all(before) and not last, log


BROKEN = {
    "a layer is missing": ('            Dense(128, activation="relu", name="hidden"),  # 128\n', ""),
    "an activation is dropped": ('Dense(128, activation="relu"', "Dense(128"),
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_broken_model_is_seen(fault, tmp_path):
    old, new = BROKEN[fault]
    shutil.copytree(ROOT / "labcode", tmp_path / "labcode", ignore=shutil.ignore_patterns("__pycache__"))
    models = tmp_path / "labcode" / "models.py"
    source = models.read_text("utf-8")
    assert old in source, f"models.py no longer has the line that this test breaks: {old!r}"
    models.write_text(source.replace(old, new), "utf-8")
    shutil.copy(ROOT / "tests" / "test_models.py", tmp_path)
    if fault == "a layer is missing":  # a dropped activation changes nothing that a summary shows
        chapter = nbformat.read(CHAPTER, as_version=4)
        shortened(chapter)
        nbformat.write(chapter, tmp_path / CHAPTER.name)
    outcomes, log = run_pytest(tmp_path, PYTHONPATH=str(tmp_path))
    chapter_outcomes = [passed for name, passed in outcomes.items() if name.startswith("Cell")]
    assert not all(passed for name, passed in outcomes.items() if name.startswith("test_")), log
    assert any(outcomes.values()) and chapter_outcomes[-1:] in ([], [False]), log

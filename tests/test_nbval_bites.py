"""nbval bites: what a chapter's stored outputs hold is compared to the letter, all but measured numbers."""

import json
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
    """Run a folder as the project runs its tests; return what passed, {file: {test: passed}}, and the log."""
    shutil.copy(ROOT / "conftest.py", folder)
    command = [sys.executable, "-P", "-m", "pytest", "-c", "pyproject.toml", "-n0", "-rA", "--color=no", str(folder)]
    environment = {**os.environ, **environment, "PYTHONUTF8": "1", "PYTEST_ADDOPTS": ""}  # --shuffle is not known there
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=240)
    outcomes = {}
    for outcome, file, name in re.findall(r"^(PASSED|FAILED) (\S+?)::(Cell \d+|\S+)", result.stdout, re.M):
        outcomes.setdefault(Path(file).name, {})[name] = outcome == "PASSED"
    return outcomes, result.stdout + result.stderr


def shortened(notebook):
    """A chapter up to the first code cell that shows something; and that cell."""
    index, shown = next((i, cell) for i, cell in enumerate(notebook.cells) if cell.get("outputs"))
    notebook.cells = notebook.cells[: index + 1]
    return shown


@pytest.fixture(scope="module")
def altered(tmp_path_factory):
    """What ``run_pytest`` returns of a notebook of the pairs, and of a chapter with one digit altered."""
    folder = tmp_path_factory.mktemp("altered")
    cells = [
        new_code_cell(f"print({new!r})", execution_count=n, outputs=[new_output("stream", text=f"{stored}\n")])
        for n, (stored, new, _) in enumerate(PAIRS.values(), start=1)
    ]
    nbformat.write(new_notebook(cells=cells), folder / "pairs.ipynb")
    source = "from ipykernel.kernelapp import IPKernelApp\nprint(IPKernelApp.instance().transport)"
    cell = new_code_cell(source, execution_count=1, outputs=[new_output("stream", text="ipc\n")])
    nbformat.write(new_notebook(cells=[cell]), folder / "sockets.ipynb")
    chapter = nbformat.read(CHAPTER, as_version=4)
    data = next(out.data for out in shortened(chapter).outputs if "101,770" in out.data["text/markdown"])
    data["text/markdown"] = data["text/markdown"].replace("101,770", "101,771")
    nbformat.write(chapter, folder / CHAPTER.name)
    return run_pytest(folder)


def test_only_measured_numbers_may_change(altered):
    outcomes, log = altered
    assert outcomes["pairs.ipynb"] == {f"Cell {n}": same for n, (_, _, same) in enumerate(PAIRS.values())}, log


def test_a_kernel_takes_no_port_that_another_process_may_have_taken_meanwhile(altered):
    outcomes, log = altered
    assert outcomes["sockets.ipynb"] == {"Cell 0": True}, log


def test_an_altered_output_of_a_chapter_is_seen(altered):
    outcomes, log = altered
    *before, last = outcomes[CHAPTER.name].values()
    assert before and all(before) and not last, log


def test_what_a_kernel_says_that_dies_is_reported(tmp_path):
    spec = {"argv": [sys.executable, "-c", "raise SystemExit('no kernel today')"], "display_name": "Dies"}
    folder = tmp_path / "kernels" / "dies"
    folder.mkdir(parents=True)
    (folder / "kernel.json").write_text(json.dumps(spec | {"language": "python"}))
    chapter = new_notebook(
        cells=[new_code_cell("0")], metadata={"kernelspec": {"name": "dies", "display_name": "Dies"}}
    )
    nbformat.write(chapter, tmp_path / "dies.ipynb")
    outcomes, log = run_pytest(tmp_path, JUPYTER_PATH=str(tmp_path))
    assert not outcomes and "no kernel today" in log


BROKEN = {  # by network: a layer is missing, an activation is dropped
    "fc": ('            Dense(128, activation="relu", name="hidden"),  # 128\n', ""),
    "cnn": ('Dense(256, activation="relu"', "Dense(256"),
}


@pytest.mark.soak
def test_broken_models_are_seen(tmp_path):
    shutil.copytree(ROOT / "labcode", tmp_path / "labcode", ignore=shutil.ignore_patterns("__pycache__"))
    models = tmp_path / "labcode" / "models.py"
    source = models.read_text("utf-8")
    for old, new in BROKEN.values():
        assert source.count(old) == 1, f"models.py no longer has the line that this test breaks: {old!r}"
        source = source.replace(old, new)
    models.write_text(source, "utf-8")
    shutil.copy(ROOT / "tests" / "test_models.py", tmp_path)
    chapter = nbformat.read(CHAPTER, as_version=4)
    shortened(chapter)
    nbformat.write(chapter, tmp_path / CHAPTER.name)
    outcomes, log = run_pytest(tmp_path, PYTHONPATH=str(tmp_path))
    failed = [name for name, passed in outcomes["test_models.py"].items() if not passed]
    assert all(any(name.endswith(f"[{network}]") for name in failed) for network in BROKEN), log
    assert not any(name.endswith("[fc_dropout]") for name in failed), "the network that is whole"
    *before, last = outcomes[CHAPTER.name].values()
    assert before and all(before) and not last, log

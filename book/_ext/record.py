"""Stores in the chapters the outputs that the tests compare: ``make record``.

Executes every chapter on its default parameters, as the build executes them, and puts outputs and execution counts into
the source notebooks. What varies from one execution to the next is left out, so that recording twice changes nothing.
If a cell fails, no notebook is touched.
"""

import json
import logging
import os
import re
import sys
import tempfile
from pathlib import Path

import nbformat
from chapter import Chapter, code_cells, write
from execution import Execution, execute_all

TIMEOUT = 900  # seconds a cell
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
OF_AN_EXECUTION = ("execution", "papermill", "ExecuteTime")  # metadata of a cell: when and how it was executed
TIME = re.compile(r"≈ *[\d,.]+(?= *(s|ms)\b)")


def main(folder):
    """Record the notebooks in a folder. Beside it, ``_build/recorded`` keeps them as executed, a failed one too."""
    logging.getLogger("sphinx").addHandler(logging.StreamHandler(sys.stdout))
    logging.getLogger("sphinx").setLevel(logging.INFO)
    kept = folder.parent / "_build" / "recorded"
    chapters = [Chapter(path.stem, path, kept, {}) for path in sorted(folder.glob("*.ipynb"))]
    with tempfile.TemporaryDirectory(prefix="labcode-record-") as scratch:
        os.environ["LABCODE_CACHE"] = scratch  # every Run is trained once, for all chapters, and none is found
        for chapter in chapters:
            chapter.parameters = {}  # papermill injects none
        executions = [Execution(chapter, Path(scratch, "chapters", chapter.name), None) for chapter in chapters]
        failures = execute_all(executions, TIMEOUT)
    if failures:
        sys.exit("\n\n".join(["Nothing was recorded.", *failures]))
    for chapter in chapters:
        text = nbformat.writes(recorded(nbformat.read(chapter.path, as_version=4), chapter.kept)) + "\n"
        if text != chapter.path.read_text("utf-8"):
            write(chapter.path, text)
            print(f"recorded {os.path.relpath(chapter.path)}")


def recorded(notebook, executed):
    """The source notebook with the outputs and execution counts of the executed one, and clean metadata."""
    for cell, new in zip(code_cells(notebook), code_cells(executed), strict=True):
        cell.execution_count = new.execution_count
        if without_times(cell.outputs) != without_times(new.outputs):
            cell.outputs = new.outputs
    for cell in notebook.cells:
        for key in OF_AN_EXECUTION:
            cell.metadata.pop(key, None)
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def without_times(outputs):
    """Outputs as text in which measured times, unlike all else never the same twice, are left out."""
    return TIME.sub("≈", json.dumps(outputs, ensure_ascii=False, sort_keys=True))


if __name__ == "__main__":
    main(Path(__file__).resolve().parents[1])

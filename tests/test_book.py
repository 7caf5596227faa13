"""The lint of the book: each rule holds for every chapter, and each is seen to bite."""

import ast
import re
import tomllib
from copy import deepcopy
from itertools import chain, pairwise
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parent.parent
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
CELL_LINES = 12
GLUE_ROLE = re.compile(r"\{glue(?::\w+)?\}`([^`]+)`")
GLUE_DIRECTIVE = re.compile(r"^[`:]{3,}\{glue(?::\w+)?\}[ \t]*(\S+)", re.M)
UNCOMPARED = re.compile(r"#\s*NBVAL_\w+|nbval-\S+|raises-exception")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")
# What looks like a measured result: 96.95 %, 0.31 pp, 0.9695, and all that is marked as measured.
RESULT = re.compile(r"(?<![\w.,])(?:(\d+\.\d+)\s*(?:%|pp\b|percentage points)|(0\.9\d\d+)(?!\d|\.\d)|≈\s*([\d.,]+))")
# Numbers in prose that look like results and are neither that nor reported: the value as it is written, and why.
NO_RESULTS = {"0.999": "a constant: how slowly Adam forgets squared gradients"}
RULES = []


def rule(function):
    """Register a rule: a function of a notebook that yields its faults, in words."""
    RULES.append(function)
    return function


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [(cell.execution_count, output) for cell in code_cells(notebook) for output in cell.outputs]


def prose(notebook):
    return "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


@rule
def is_recorded_from_first_to_last(notebook):
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"execution counts {counts}: expected 1 to {len(counts)}; run `make record`"


@rule
def compares_every_cell(notebook):
    before = ""
    for cell in notebook.cells:
        tags = [tag for tag in cell.metadata.get("tags", []) if UNCOMPARED.fullmatch(tag)]
        marks = tags + (UNCOMPARED.findall(cell.source) if cell.cell_type == "code" else [])
        if marks and not re.search(r"not compared(:|,| because| for) *\w+", f"{before}\n{cell.source}"):
            yield f"{marks} on the cell {cell.source[:60]!r}: say why, in it or before it: not compared, for ..."
        before = cell.source if cell.cell_type == "markdown" else ""


@rule
def shows_no_error_or_address(notebook):
    for count, output in outputs(notebook):
        if output.output_type == "error" or output.get("name") == "stderr":
            yield f"cell [{count}] has an output of type {output.get('name') or output.output_type}: mend its cause"
        data = output.get("data", {})
        texts = [output.get("text", ""), *(text for kind, text in data.items() if not kind.startswith("image/"))]
        for word in chain.from_iterable(ADDRESS.findall(str(text)) for text in texts):
            yield f"cell [{count}] shows the memory address {word}, another one each time: print something else"


@rule
def begins_with_parameters(notebook):
    cells = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    if cells != code_cells(notebook)[:1]:
        yield f"{len(cells)} cells tagged `parameters`: expected one, the first code cell"
    for line in chain.from_iterable(cell.source.splitlines() for cell in cells):
        try:
            (assignment,) = ast.parse(line).body
            ast.literal_eval(assignment.value)
            if not isinstance(assignment.targets[0], ast.Name):
                raise ValueError
        except (SyntaxError, ValueError, AttributeError):
            yield f"parameter {line!r}: expected `name = literal  # reason`, on one line"
        if not re.search(r"#\s*\w+", line):
            yield f"parameter {line!r}: its reason is missing, as a comment"


@rule
def has_short_code_cells(notebook):
    for cell in code_cells(notebook):
        if len(lines := cell.source.splitlines()) > CELL_LINES:
            yield f"{len(lines)} lines in the cell that begins {lines[0]!r}: at most {CELL_LINES}; move code to labcode"


@rule
def describes_each_figure(notebook):
    for count, output in outputs(notebook):
        if any(kind.startswith("image/") for kind in output.get("data", {})):
            figure = output.get("metadata", {}).get("labcode", {})
            missing = [key for key in ("name", "caption", "alt") if not str(figure.get(key, "")).strip()]
            if missing:
                yield f"a figure of cell [{count}] has no {', '.join(missing)}: show it with plots.show"


@rule
def has_no_result_in_its_prose(notebook):
    text = re.sub(r"\{[\w:]+\}`[^`]*`", "", prose(notebook))
    for percent, fraction, measured in RESULT.findall(text):
        known = (percent or fraction) in NO_RESULTS or is_reported(percent, 100) or is_reported(fraction, 1)
        if measured or not known:
            yield (
                f"{percent or fraction or measured} is typed into the prose and not among the reported values: glue "
                "it, or, if it is no result of this book, give the reason in NO_RESULTS"
            )


@rule
def pastes_only_what_it_glues(notebook):
    brought = [output.get("metadata", {}) for _, output in outputs(notebook)]
    glued = {metadata["scrapbook"]["name"] for metadata in brought if "scrapbook" in metadata}
    text = prose(notebook)
    for key in GLUE_ROLE.findall(text) + GLUE_DIRECTIVE.findall(text):
        if "::" in key or ":doc:" in text:
            yield f"{key!r} is pasted from another page, where it can go stale: compute it here"
        elif key.split(":")[0] not in glued:
            yield f"{key!r} is pasted, but the glued keys are {sorted(glued)}; correct it, or run `make record`"


@rule
def has_clean_metadata(notebook):
    if notebook.metadata != METADATA:
        yield f"metadata {dict(notebook.metadata)}: expected {METADATA}; run `make record`"
    for cell in notebook.cells:
        unknown = cell.metadata.keys() - {"tags", "mystnb"}
        if unknown:
            yield f"cell {cell.id} has the metadata {sorted(unknown)}: remove them; `make record` does for most"


def numbers(value):
    """All numbers in a value of claims.toml, whatever it is made of."""
    if isinstance(value, dict | list):
        return list(chain.from_iterable(map(numbers, value.values() if isinstance(value, dict) else value)))
    if isinstance(value, str):
        return [float(number.replace(",", "")) for number in re.findall(r"\d[\d,]*(?:\.\d+)?", value)]
    return [] if isinstance(value, bool) else [value]


def reported_values():
    """What the original report states, and what follows from it: the gap of a stated pair, and the share of errors."""
    claims = tomllib.loads((ROOT / "labcode" / "claims.toml").read_text("utf-8")).values()
    stated = numbers([[claim.get("reported", []), claim["statement"]] for claim in claims])
    pairs = [pair for claim in claims if isinstance(claim.get("reported"), dict) for pair in claim["reported"].values()]
    gaps = [a - b for pair in pairs if isinstance(pair, list) for a, b in pairwise(pair)]
    return [*stated, *gaps, *(1 - number for number in stated if 0.5 < number < 1)]


def is_reported(text, scale):
    """Whether a number, as it is typed, is a reported value times ``scale``, or one stated in such units, rounded."""
    if not text:
        return False
    half = 0.5 * 10 ** -len(text.split(".")[1]) + 1e-9
    return any(abs(float(text) - number) <= half for value in reported_values() for number in (value, scale * value))


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter(path, check):
    faults = list(check(nbformat.read(path, as_version=4)))
    assert not faults, "\n".join([path.name, *faults])


def test_figures_have_names_of_their_own():
    shown = [output for path in CHAPTERS for _, output in outputs(nbformat.read(path, as_version=4))]
    names = [output.metadata["labcode"]["name"] for output in shown if "labcode" in output.get("metadata", {})]
    assert sorted(names) == sorted(set(names))
    assert all(name.startswith("fig-") for name in names)


def test_table_of_contents_and_files_agree():
    named = re.findall(r"^\s*(?:- )?(?:root|file): *(\S+)", (ROOT / "_toc.yml").read_text("utf-8"), re.M)
    listed = sorted(Path(name).stem for name in named)
    assert listed == sorted(path.stem for path in (ROOT / "book").iterdir() if path.suffix in (".ipynb", ".md"))


def good_notebook():
    """A notebook that every rule passes."""
    figure = {"labcode": {"name": "fig-a", "caption": "It falls.", "alt": "A falling line."}}
    glued = {"scrapbook": {"name": "accuracy", "mime_prefix": "application/papermill.record/"}}
    parameters = new_code_cell('dataset = "mnist-5k"  # at hand\nseed = 0  # any', metadata={"tags": ["parameters"]})
    results = [
        new_output("stream", name="stdout", text="≈ 96.95 %, inside\n"),
        new_output("display_data", {"image/png": "AA=="}, metadata=figure),
        new_output("display_data", {"application/papermill.record/text/plain": "'≈ 96.95 %'"}, metadata=glued),
    ]
    cells = [
        new_markdown_cell("# Title\nIt reads {glue:text}`accuracy`; the report says 96.89 %, a gap of 0.31 pp."),
        parameters,
        new_code_cell("print(1)", outputs=results),
    ]
    for count, cell in enumerate(cells[1:], start=1):
        cell.execution_count = count
    return new_notebook(cells=cells, metadata=deepcopy(METADATA))


def set_source(number, text):
    return lambda notebook: notebook.cells[number].update(source=text)


def set_figure(**fields):
    return lambda notebook: notebook.cells[2].outputs[1].metadata["labcode"].update(fields)


def add_output(kind, **fields):
    return lambda notebook: notebook.cells[2].outputs.append(new_output(kind, **fields))


SABOTAGES = {
    "run twice": (is_recorded_from_first_to_last, lambda notebook: notebook.cells[2].update(execution_count=7)),
    "never run": (is_recorded_from_first_to_last, lambda notebook: notebook.cells[1].update(execution_count=None)),
    "tag": (compares_every_cell, lambda notebook: notebook.cells[2].metadata.update(tags=["nbval-ignore-output"])),
    "comment": (compares_every_cell, set_source(2, "# NBVAL_IGNORE_OUTPUT\nprint(1)")),
    "stderr": (shows_no_error_or_address, add_output("stream", name="stderr", text="Warning")),
    "error": (shows_no_error_or_address, add_output("error", ename="E", evalue="", traceback=[])),
    "address": (shows_no_error_or_address, add_output("execute_result", data={"text/plain": "<f at 0x7f2666be0220>"})),
    "no parameters": (begins_with_parameters, lambda notebook: notebook.cells[1].metadata.update(tags=[])),
    "computed parameter": (begins_with_parameters, set_source(1, "seed = int('1')  # any")),
    "parameter without a reason": (begins_with_parameters, set_source(1, "seed = 1")),
    "long cell": (has_short_code_cells, set_source(2, "print(1)\n" * 13)),
    "no alternative text": (describes_each_figure, set_figure(alt="")),
    "no caption": (describes_each_figure, set_figure(caption=" ")),
    "bare figure": (describes_each_figure, lambda notebook: notebook.cells[2].outputs[1].update(metadata={})),
    "typed percentage": (has_no_result_in_its_prose, set_source(0, "It reads 96.95 % right.")),
    "typed fraction": (has_no_result_in_its_prose, set_source(0, "An accuracy of 0.9695.")),
    "typed difference": (has_no_result_in_its_prose, set_source(0, "It gains 1.59 percentage points.")),
    "typed measurement": (has_no_result_in_its_prose, set_source(0, "It takes ≈ 12 s.")),
    "unknown key": (pastes_only_what_it_glues, set_source(0, "{glue:text}`acuracy`")),
    "unknown key in a directive": (pastes_only_what_it_glues, set_source(0, "```{glue:figure} acuracy\n```")),
    "another page's key": (pastes_only_what_it_glues, set_source(0, "{glue:text}`02_fully_connected.ipynb::accuracy`")),
    "papermill": (has_clean_metadata, lambda notebook: notebook.metadata.update(papermill={})),
    "other kernel": (has_clean_metadata, lambda notebook: notebook.metadata.kernelspec.update(name="venv")),
    "timestamps": (
        has_clean_metadata,
        lambda notebook: notebook.cells[2].metadata.update(execution={"iopub.execute_input": ""}),
    ),
}


@pytest.mark.parametrize("sabotage", SABOTAGES)
def test_a_rule_bites(sabotage):
    expected, break_it = SABOTAGES[sabotage]
    notebook = good_notebook()
    assert [check.__name__ for check in RULES if list(check(notebook))] == []
    break_it(notebook)
    assert [check.__name__ for check in RULES if list(check(notebook))] == [expected.__name__]


def test_every_rule_has_been_seen_to_bite():
    assert {expected for expected, _ in SABOTAGES.values()} == set(RULES)


def test_a_cell_may_stay_uncompared_for_a_reason():
    notebook = good_notebook()
    notebook.cells[2].source = "# not compared: the output is a time\n# NBVAL_IGNORE_OUTPUT\nprint(1)"
    assert not list(compares_every_cell(notebook))


@pytest.mark.parametrize("text", ["96.89", "99.32", "0.31", "0.77", "97.2", "1.45", "1.66"])
def test_a_reported_percentage_is_known(text):
    assert is_reported(text, 100)

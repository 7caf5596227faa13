"""The lint of the book: each rule holds for every chapter, and each is seen to bite."""

import ast
import functools
import re
import tomllib
from copy import deepcopy
from decimal import Decimal
from itertools import chain
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
CLAIMS = ROOT / "labcode" / "claims.toml"
CELL_LINES = 12
GLUE_ROLE = re.compile(r"\{glue(?::\w+)?\}`([^`]+)`")
GLUE_DIRECTIVE = re.compile(r"^[`:]{3,}\{glue(?::\w+)?\}[ \t]*(\S+)", re.M)
UNCOMPARED = re.compile(r"#\s*NBVAL_\w+|nbval-\S+|raises-exception")
ADDRESS = re.compile(r"\b0x[0-9a-f]{6,}")
# What looks like a result: a number with a decimal point, or with a unit.
UNITS = {
    "%": r"\\?%|per ?cent\b",
    "pp": r"pp\b|percentage points?\b",
    "nats": r"nats?\b",
    "s": r"s\b|seconds?\b",
    "ms": r"ms\b|milliseconds?\b",
    "errors": r"errors?\b|mistakes?\b|wrong\b",
}
NUMBER = r"(?<![\w.,])(\d[\d,]*(?:\.\d+)?|\.\d+)"
RESULT = re.compile(rf"{NUMBER}(?:[\s-]*(?:{'|'.join(f'({unit})' for unit in UNITS.values())}))?")
# What is printed for reading, not said: links, roles, the numbers of sections, emphasis.
NOT_SAID = re.compile(r"\{[\w:]+\}`[^`]*`|\]\([^)]*\)|^#+ [\d.]+(?= )|\*", re.M)
# Numbers that look like results and are neither that nor reported: with the name of their unit, and why they may be.
CONSTANTS = {
    "0.01": "a learning rate: that which the report's text names",
    "0.1": "a learning rate: that of this book's FC",
    "0.95": "a constant of the lab's smoothing",
    "0.05": "a constant of the lab's smoothing",
    "2.303": "ln 10, the loss of one who knows nothing",
    "3.8": "a version of Keras",
    "10 %": "one of ten digits",
    "100 %": "a bound",
    "90 %": "an example of a confidence",
    "1.45 %": "arithmetic on a reported value: 100 - 98.55",
    "311 errors": "arithmetic on a reported value: 10,000 x (1 - 0.9689)",
    "1.66 %": "the report's own way to write 1.66 pp, quoted",
    "5 s": "a time in the report's log",
    "2 s": "a time in the report's log",
    "10 s": "a time in the report's log",
    "3 ms": "a time in the report's log",
    "2 ms": "a time in the report's log",
    "6 ms": "a time in the report's log",
}
RULES = []


def rule(function):
    """Register a rule: a function of a notebook that yields its faults, in words."""
    RULES.append(function)
    return function


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def outputs(notebook):
    return [(cell.execution_count, output) for cell in code_cells(notebook) for output in cell.outputs]


def texts(output):
    """All that an output shows, but for images, as texts."""
    shown = [output.get("text", ""), *(text for kind, text in output.get("data", {}).items() if "image/" not in kind)]
    return list(map(str, shown))


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
        for word in chain.from_iterable(map(ADDRESS.findall, texts(output))):
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
def says_something_before_each_figure_and_table(notebook):
    said = False
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            said = True
        elif any(map(is_seen, cell.outputs)):
            if not said:
                yield f"cell [{cell.execution_count}] shows something right after another one: say before it what"
            said = False


def is_seen(output):
    """Whether a reader sees an output, and not only what is glued."""
    return "data" not in output or not all(kind.startswith("application/papermill") for kind in output.data)


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
    for number in unknown_results(prose(notebook)):
        yield (
            f"{number} is typed into the prose and is not, as it is written, a reported value: glue it, or, if it is "
            "no result of this book, give the reason in CONSTANTS"
        )


@rule
def shows_no_failed_check(notebook):
    before = ""
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            before = cell.source
        elif "expected to fail" not in before:
            for output in cell.outputs:
                for word in sorted(set(re.findall(r"\bFalse\b|✗", " ".join(texts(output))))):
                    yield f"cell [{cell.execution_count}] shows {word}: mend it, or say before it: expected to fail"


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


@functools.cache
def reported_results():
    """The reported values as the report writes them: pairs of a number and its unit, or of a number and nothing."""
    claims = tomllib.loads(CLAIMS.read_text("utf-8"), parse_float=Decimal)  # which keeps the last zero of 0.9720
    return {pair for claim in claims.values() for pair in spellings(claim.get("reported"), claim["unit"])}


def spellings(value, unit):
    """The pairs of number and unit that a reported value of claims.toml is written with."""
    if isinstance(value, dict):
        pairs = [pair for pair in value.values() if isinstance(pair, list) and len(pair) == 2]
        rest = [part for part in value.values() if part not in pairs]
        gaps = [spellings(one - other, "pp") for one, other in pairs]
        return set().union(*gaps, *(spellings(part, "percent") for part in chain(*pairs)), *map(list_spellings, rest))
    if isinstance(value, list):
        return list_spellings(value, {"log": len(value) // 2, "test": 1}.get(unit, 0))
    if not isinstance(value, Decimal):
        return set()
    number, percent = f"{value:f}", f"{value.scaleb(2):f}"
    written = {
        "percent": [(number, ""), (percent, "%"), (percent, "")],
        "pp": [(percent, "pp"), (percent, "")],
        "nats": [(number, ""), (number, "nats")],
        "seconds": [(f"{value:.0f}", "s")],
    }
    return set(written.get(unit, [(number, "")]))


def list_spellings(values, accuracies=0):
    """The spellings of a list that begins with so many accuracies, of which there are losses in the rest."""
    values = values if isinstance(values, list) else [values]
    units = ["percent"] * accuracies + ["nats" if accuracies else "list"] * (len(values) - accuracies)
    return set().union(*map(spellings, values, units))


def typed_results(text):
    """The numbers in a text that look like results: pairs of a number, as it is written, and the name of its unit."""
    said = NOT_SAID.sub(lambda match: "" if match[0] == "*" else " ", text)
    for number, *found in RESULT.findall(said):
        unit = next((name for name, word in zip(UNITS, found, strict=True) if word), "")
        if unit or "." in number:
            yield number, unit


def unknown_results(text):
    """What of them is neither a reported value nor a constant, and all that is marked as measured."""
    unknown = [result for result in typed_results(text) if result not in reported_results()]
    named = [" ".join(filter(None, result)) for result in unknown]
    return [name for name in named if name not in CONSTANTS] + re.findall(r"≈ *[\d.,]+", text)


def sentences(claim):
    """What a claim of claims.toml has to say on a page."""
    return "\n\n".join([claim["statement"], *claim.get("follows", {}).values()])


@pytest.mark.parametrize("name", tomllib.loads(CLAIMS.read_text("utf-8")))
def test_a_claim_states_only_what_is_reported(name):
    assert unknown_results(sentences(tomllib.loads(CLAIMS.read_text("utf-8"))[name])) == [], "see CONSTANTS"


def test_every_constant_is_still_written():
    texts = [prose(nbformat.read(path, as_version=4)) for path in CHAPTERS]
    texts += map(sentences, tomllib.loads(CLAIMS.read_text("utf-8")).values())
    written = {" ".join(filter(None, result)) for text in texts for result in typed_results(text)}
    assert sorted(CONSTANTS.keys() - written) == [], "remove it: an exception that nobody needs hides a typed result"


@pytest.mark.parametrize("check", RULES, ids=lambda check: check.__name__)
@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapter(path, check):
    faults = list(check(nbformat.read(path, as_version=4)))
    assert not faults, "\n".join([path.name, *faults])


def test_chapter_8_asks_each_of_its_questions():
    (chapter,) = [path for path in CHAPTERS if path.stem.startswith("08")]
    headings = re.findall(r"^## (.+\?|.*chance|.*seeds)$", prose(nbformat.read(chapter, as_version=4)), re.M)
    questions = ["Is the CNN better?", "Is its gap smaller?", "Are they sure where they are right?"]
    assert headings == ["Many seeds", "Two kinds of chance", *questions, "Which learning rate?"]


def test_figures_have_names_of_their_own():
    shown = [output for path in CHAPTERS for _, output in outputs(nbformat.read(path, as_version=4))]
    names = [output.metadata["labcode"]["name"] for output in shown if "labcode" in output.get("metadata", {})]
    assert sorted(names) == sorted(set(names))
    assert all(name.startswith("fig-") for name in names)


def test_table_of_contents_and_files_agree():
    named = re.findall(r"^\s*(?:- )?(?:root|file): *(\S+)", (ROOT / "_toc.yml").read_text("utf-8"), re.M)
    listed = sorted(Path(name).stem for name in named)
    assert listed == sorted(path.stem for path in (ROOT / "book").iterdir() if path.suffix in (".ipynb", ".md"))


def test_the_first_page_lists_all_chapters_by_their_titles():
    index = "\n".join(cell.source for cell in nbformat.read(ROOT / "book" / "index.ipynb", as_version=4).cells)
    listed = re.findall(r"^\| \[(\d+)\]\((\S+)\) \| (.+) \|$", index, re.M)
    files = sorted((ROOT / "book").glob("[0-9]*.ipynb"))
    titles = [nbformat.read(path, as_version=4).cells[0].source.splitlines()[0] for path in files]
    assert [(name, f"# {number}. {title}") for number, name, title in listed] == [
        (path.name, title) for path, title in zip(files, titles, strict=True)
    ]


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


def showing_cell(notebook):
    """A further cell that shows something, run before the last one."""
    notebook.cells[2].execution_count += 1
    return new_code_cell("print(0)", execution_count=2, outputs=[new_output("stream", text="0\n")])


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
    "nothing said before a figure": (
        says_something_before_each_figure_and_table,
        lambda notebook: notebook.cells.insert(2, showing_cell(notebook)),
    ),
    "no alternative text": (describes_each_figure, set_figure(alt="")),
    "no caption": (describes_each_figure, set_figure(caption=" ")),
    "bare figure": (describes_each_figure, lambda notebook: notebook.cells[2].outputs[1].update(metadata={})),
    "typed result": (has_no_result_in_its_prose, set_source(0, "It reads 97.1 % right.")),
    "typed measurement": (has_no_result_in_its_prose, set_source(0, "It takes ≈ 12 or so.")),
    "False": (shows_no_failed_check, add_output("stream", name="stdout", text="equal: False\n")),
    "cross": (shows_no_failed_check, add_output("display_data", data={"text/markdown": "| ✗ |"})),
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


def test_a_check_may_fail_where_that_is_said_before():
    notebook = good_notebook()
    SABOTAGES["False"][1](notebook)
    notebook.cells[0].source += " This check is expected to fail."
    assert not list(shows_no_failed_check(notebook))


@pytest.mark.parametrize(
    "text",
    [
        *("97.1 %", "1 pp", "loss ends at 0.41", "12 s", "98.6 %", "58 errors", ".9695", "1.7 percentage points"),
        *("0.33 nats", "0.8 pp", "98%", "**98** %", "58 wrong digits", "12-second", "96.9 %", "96.890 %", "1.66 nats"),
        *("4 ms", "97 pp", "0.969", "(0.41)", "x=0.41", "97.20 s", "1,000 seconds", "56.67 %", "at 0.41."),
    ],
)
def test_a_typed_result_is_found(text):
    assert len(unknown_results(f"It is {text}")) == len(unknown_results(f"{text} it is.")) == 1


@pytest.mark.parametrize(
    "text",
    [
        *("96.89 %", "97 %", "97.20 - 96.89", "98.55 %", "1.66", "1.66 percentage points", "0.77 pp", "0.31 pp"),
        *(
            "0.5667 nats",
            "0.1013",
            "0.1065",
            "13 s",
            "0.99999142",
            "a rate of 0.01",
            "311 wrong digits",
            "## 2.1 Title",
        ),
        *("{glue:text}`a:.2f` %", "[next](0.41.ipynb)", "28x28 pixels", "10,000 images", "6.S191", "all 15 labels"),
    ],
)
def test_what_the_report_says_may_be_typed(text):
    assert not unknown_results(text)

"""The Sphinx extension, through real builds of tiny books."""

import json
import os
import re
import resource
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import nbformat
import psutil
import pytest
import yaml
from click.testing import CliRunner
from jupyter_book.cli.main import main as jupyter_book

from labcode import data

EXTENSION = Path(__file__).parents[1] / "book" / "_ext"
NO_NETWORK = dict.fromkeys(["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9")
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
COMMAND = str(Path(sys.executable).with_name("jupyter-book"))
COUNT_RUNS = 'open("runs.txt", "a").write(f"{name}\\n");'


class Book:
    """A book in a temporary folder, with an introduction, a module ``helper`` and the chapters given.

    Each chapter is its list of cells: code, or prose where the text starts with ``#`` and a space.
    """

    def __init__(self, root, chapters, **config):
        self.root, self.pages = root, root / "_build" / "html"
        (root / "book").mkdir(parents=True)
        (root / "intro.md").write_text("# Introduction\n\nWelcome.\n")
        (root / "book" / "helper.py").write_text("word = 'first'\n")
        toc = {"format": "jb-book", "root": "intro", "chapters": [{"file": f"book/{name}"} for name in chapters]}
        (root / "_toc.yml").write_text(yaml.safe_dump(toc))
        self.configure(**config)
        for name, cells in chapters.items():
            self.write(name, cells)
        self.env = {**NO_NETWORK, "LABCODE_CACHE": str(root / "cache"), "LABCODE_DATASET": "mnist-5k"}

    def configure(self, **config):
        """Write the book's configuration."""
        sphinx = {
            "local_extensions": {"papermill_chapters": os.path.relpath(EXTENSION, self.root)},
            "config": {"papermill_sources": ["book/helper.py"], **config},
        }
        content = {"title": "Tiny", "only_build_toc_files": True, "execute": {"execute_notebooks": "off"}}
        (self.root / "_config.yml").write_text(yaml.safe_dump({**content, "sphinx": sphinx}))

    def path(self, name):
        """The source notebook of a chapter."""
        return self.root / "book" / f"{name}.ipynb"

    def write(self, name, cells, kernel="python3"):
        """Write a chapter; its first code cell is the parameters cell."""
        make = nbformat.v4
        prose = [text.startswith("# ") for text in cells]
        nodes = [
            make.new_markdown_cell(text) if is_prose else make.new_code_cell(text)
            for text, is_prose in zip(cells, prose, strict=True)
        ]
        nodes[prose.index(False)].metadata["tags"] = ["parameters"]
        spec = {"name": kernel, "display_name": "Python 3", "language": "python"}
        nbformat.write(make.new_notebook(cells=nodes, metadata={"kernelspec": spec}), self.path(name))

    def edit(self, name, old, new):
        """Replace a text in a chapter's cells."""
        notebook = nbformat.read(self.path(name), as_version=4)
        cell = next(cell for cell in notebook.cells if old in cell.source)
        cell.source = cell.source.replace(old, new)
        nbformat.write(notebook, self.path(name))

    def build(self, **env):
        """Build; return the exit code and all that was printed. No kernel may be left."""
        runner = CliRunner(env={"MNIST_DIR": None, **self.env, **env})
        result = runner.invoke(jupyter_book, ["build", str(self.root)])
        assert not [child for child in psutil.Process().children(recursive=True) if "ipykernel" in str(child.cmdline())]
        return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)

    def start(self, *python_options):
        """Start a build as a user does, in a process of its own."""
        env = {name: value for name, value in os.environ.items() if name != "MNIST_DIR"} | self.env
        command = [sys.executable, *python_options, COMMAND, "build", str(self.root)]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def runs(self):
        """Which chapters counted a run since the last call."""
        path = self.root / "book" / "runs.txt"
        names = path.read_text().split() if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(names)

    def page(self, name):
        """The HTML of a page."""
        return (self.pages / f"{name}.html").read_text("utf-8")

    def kept(self, name, suffix=".ipynb"):
        """An executed notebook's file."""
        return self.root / "_build" / "executed" / "book" / f"{name}{suffix}"


FIGURE = {"labcode": {"name": "fig-dot", "caption": "A *dot*.", "alt": "one black pixel"}}
ONE = [
    "# One\n\nThe word is {glue:text}`word`, the number {glue:text}`number:.2f`; see {numref}`fig-dot`.",
    'name = "one"\ndataset = "mnist"\nseed = 7',
    f"{COUNT_RUNS}\nfrom helper import word\nfrom myst_nb import glue\n"
    'glue("word", f"{word}!", display=False)\nglue("number", 1.2345, display=False)\nprint(f"on <{dataset}>")',
    f'display({{"image/png": "{PIXEL}", "text/plain": "dot"}}, raw=True, metadata={FIGURE})\n6 * 7',
]
TWO = ["# Two", 'name = "two"', f"{COUNT_RUNS}\nimport helper\nprint(f'two has {{helper.word}}')"]


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A book that was built once; whoever changes it builds it again."""
    book = Book(tmp_path_factory.mktemp("book"), {"one": ONE, "two": TWO})
    book.source = book.path("one").read_bytes()
    book.first_build = book.build()
    book.first_runs = book.runs()
    return book


def test_first_build(book):
    code, log = book.first_build
    assert code == 0
    assert book.first_runs == ["one", "two"]
    assert "one: executed for the first time" in log
    assert book.path("one").read_bytes() == book.source


def test_outputs_are_on_the_page(book):
    page = book.page("book/one")
    assert "The word is first!, the number 1.23" in re.sub(r"<[^>]*>", "", page)
    assert "on &lt;mnist-5k&gt;" in page, "papermill sets `dataset`"
    assert "# Parameters" not in page, "the injected cell does not show"
    provenance = re.search(r'class="provenance[^>]*>\s*<p>(.*)</p>', page)[1]
    assert re.search(r"mnist-5k, .* seed 7 .*Python 3\..*NumPy .* UTC · \d+ s", provenance)
    assert "mnist-5k" not in re.search(r'class="provenance[^>]*>\s*<p>(.*)</p>', book.page("book/two"))[1]


def test_figure_has_caption_number_and_alternative_text(book):
    page = book.page("book/one")
    figure = re.search(r'<figure[^>]*id="fig-dot".*?</figure>', page, re.S)[0]
    assert 'alt="one black pixel"' in figure
    assert "Fig. 1 A dot." in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", figure))
    assert re.search(r'href="#fig-dot"[^>]*>(<[^>]*>)*Fig. 1', page), "numref"
    assert page.count("<figure") == 1, "the number 42 beside it is no figure"
    assert len(re.findall(r"6</span>.*\*", page)) == 1, "its cell shows once"


def test_rebuild_executes_and_imports_nothing(book):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    build = book.start("-X", "importtime")
    log, imports = build.communicate()
    assert build.returncode == 0
    assert "0 added, 0 changed, 0 removed" in log
    assert re.search(r"\| +sphinx\n", imports) and not re.search(r"\| +(tensorflow|keras|papermill)\n", imports)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    # processor seconds: the clock also counts what else the machine does
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 5
    assert book.runs() == []


def test_prose_and_tags_execute_nothing(book):
    notebook = nbformat.read(book.path("one"), as_version=4)
    notebook.cells[0].source += "\n\nA new sentence."
    notebook.cells[2].metadata["tags"] = ["hide-input"]
    notebook.cells[2].id = "another-id"
    notebook.cells.insert(2, nbformat.v4.new_markdown_cell("A new cell of prose."))
    nbformat.write(notebook, book.path("one"))
    code, log = book.build()
    assert (code, book.runs()) == (0, [])
    page = book.page("book/one")
    assert "A new sentence." in page and "A new cell of prose." in page and "tag_hide-input" in page
    assert "on &lt;mnist-5k&gt;" in page


def test_edited_code_cell_executes_its_chapter(book):
    book.edit("two", "two has", "now two has")
    code, log = book.build()
    assert (code, book.runs()) == (0, ["two"])
    assert "two: executed again, code cells changed" in log
    assert "now two has first" in book.page("book/two")


def test_edited_parameter_executes_its_chapter(book):
    book.edit("one", "seed = 7", "seed = 8")
    code, log = book.build()
    assert (code, book.runs()) == (0, ["one"])
    assert "one: executed again, parameters cell changed" in log
    assert "seed 8" in book.page("book/one")


def test_edited_module_executes_all_chapters(book):
    (book.root / "book" / "helper.py").write_text("word = 'second'\n")
    code, log = book.build()
    assert (code, book.runs()) == (0, ["one", "two"])
    assert "two: executed again, book/helper.py changed" in log
    assert "second!" in book.page("book/one") and "second" in book.page("book/two")


def test_failing_cell(tmp_path):
    wrong = ["# Wrong", 'name = "wrong"', 'print("before")', f"{COUNT_RUNS}\ny = 0\n1 / y", 'print("after")']
    book = Book(tmp_path, {"two": TWO, "wrong": wrong})
    build = book.start()
    log, errors = build.communicate()
    assert build.returncode == 1
    for attempt in ("first", "same again"):
        code, log = (build.returncode, log + errors) if attempt == "first" else book.build()
        assert code == 1, attempt
        assert "1 of" in log and "wrong.ipynb: code cell 3 of 4 failed" in log, attempt
        assert re.search(r"    1 / y\n-+\nZeroDivisionError.*\n.*---->", log, re.S), "source and traceback"
        assert str(os.path.relpath(book.kept("wrong", ".failed.ipynb"))) in log
        assert not book.kept("wrong").exists()
    assert book.runs() == ["two", "wrong", "wrong"], "what succeeded is not executed again"
    assert "before" in book.kept("wrong", ".failed.ipynb").read_text()
    book.edit("wrong", "y = 0", "y = 1")
    code, log = book.build()
    assert (code, book.runs()) == (0, ["wrong"])
    assert "after" in book.page("book/wrong") and "two has first" in book.page("book/two")
    assert not book.kept("wrong", ".failed.ipynb").exists()


@pytest.mark.parametrize(
    ("cell", "message"),
    [("import os; os._exit(1)", "DeadKernelError"), ("import sys; sys.exit(0)", "SystemExit")],
)
def test_cell_that_ends_the_kernel(tmp_path, cell, message):
    book = Book(tmp_path, {"ends": ["# Ends", "seed = 0", 'print("before")', cell, 'print("after")']})
    code, log = book.build()
    assert code == 1
    assert "ends.ipynb: code cell 3 of 4 failed" in log and message in log and cell in log
    assert "before" in book.kept("ends", ".failed.ipynb").read_text()
    assert "completed" not in book.kept("ends", ".failed.ipynb").read_text(), "papermill's word for every cell"
    assert not book.kept("ends").exists()


def test_timeout_does_not_count_waiting(tmp_path):
    imports = "import time\nfrom labcode import progress"
    wait = 'progress.report("waiting for a Run", waiting=True)'
    chapters = {
        "a_waits": ["# Waits", "seed = 0", imports, f"{wait}\ntime.sleep(3)", 'print("done")'],
        "b_slow": ["# Slow", "seed = 0", imports, wait, "time.sleep(60)"],
    }
    book = Book(tmp_path, chapters, papermill_timeout=1.5)
    code, log = book.build()
    assert code == 1
    assert "b_slow.ipynb: code cell 4 of 4 failed" in log and "timeout" in log and "    time.sleep(60)" in log
    assert "waits.ipynb" not in log and "[a_waits] done" in log and book.kept("a_waits").exists()
    assert "[a_waits 3/4] waiting for a Run" in log
    assert book.kept("b_slow", ".failed.ipynb").exists()


def test_interrupt(tmp_path):
    quick, long = (
        ["# Quick", "seed = 0", "import helper\nhelper.word"],
        ["# Long", "seed = 0", "steps = 1", "while steps: steps -= 1"],
    )
    book = Book(tmp_path, {"a_quick": quick, "b_long": long})
    assert book.build()[0] == 0
    (tmp_path / "book" / "helper.py").write_text("word = 'second'\n")
    book.edit("b_long", "steps = 1", "steps = -1")
    build = book.start()
    try:
        log = ""
        while not ("[a_quick] done" in log and "[b_long 3/3]" in log):
            log += (line := build.stdout.readline())
            assert line, "the build ended by itself"
        kernels = psutil.Process(build.pid).children(recursive=True)
        build.send_signal(signal.SIGINT)
        build.communicate(timeout=20)
    finally:
        build.kill()
    assert build.returncode != 0
    assert kernels and not psutil.wait_procs(kernels, timeout=0.5)[1], "no kernel outlives the build"

    book.edit("b_long", "steps = -1", "steps = 1")
    code, log = book.build()
    assert code == 0 and "a_quick: executed" not in log
    assert "second" in book.page("book/a_quick"), "executed by the interrupted build, shown by the next"


def test_value_that_cannot_be_pasted_fails_every_time(tmp_path):
    right, code_cell = "{glue:text}`present`", 'from myst_nb import glue\nglue("present", "97 %", display=False)'
    book = Book(tmp_path, {"paste": [f"# Paste\n\n{right}", "seed = 0", code_cell]})
    missing = ["{glue:text}`absent`", "```{glue:figure} absent\n```", "{glue:text}`present:.2f`"]
    faults = [*missing, "{glue:text}`two::present`", "```{glue} present\n:doc: two\n```"]
    for old, fault in pairwise([right, *faults]):
        book.edit("paste", old, fault)
        for attempt in ("first", "same again"):
            code, log = book.build()
            assert code == 1, (fault, attempt)
            assert re.search("book/paste pastes .*(absent|Failed to format|two::present|:doc: two)", log, re.S), fault
    book.edit("paste", faults[-1], right)
    assert book.build()[0] == 0
    assert "97 %" in book.page("book/paste")


def test_a_published_file_is_written_beside_the_pages_and_nowhere_else(tmp_path):
    def publish(file, number):
        return f"display('shown', metadata={{'labcode': {{'file': {file!r}, 'content': {{'number': {number}}}}}}})"

    cells = [publish("results.json", 1), publish("../../away.json", 2), publish(str(tmp_path / "absolute.json"), 3)]
    book = Book(tmp_path, {"tells": ["# Tells", "seed = 0", *cells]})
    for number in (1, 7):
        book.edit("tells", "'number': 1", f"'number': {number}")
        code, log = book.build()
        assert code == 0, log
        content = json.loads((book.pages / "results.json").read_text("utf-8"))
        assert content["number"] == number and content.keys() == {"number", "provenance"}
        provenance = content["provenance"]
        assert provenance["date"] in book.kept("tells").read_text() and provenance["processor"]
        assert {"Python", "TensorFlow", "Keras", "NumPy"} <= provenance["versions"].keys()
    assert "shown" in book.page("book/tells")
    for name in ("away.json", "absolute.json"):
        assert [path.parent for path in tmp_path.rglob(name)] == [book.pages]


def test_data_set(tmp_path):
    cells = ["# Data", 'dataset = "mnist-5k"', 'import os\nprint(f"on <{dataset}>", os.environ.get("MNIST_DIR"))']
    book = Book(tmp_path, {"data": cells, "two": TWO}, papermill_dataset="auto")
    del book.env["LABCODE_DATASET"]

    def has_banner():
        pages = [book.page(name) for name in ("intro", "book/data", "book/two")]
        return ["It is not the report on all of MNIST" in page for page in pages]

    code, log = book.build(LABCODE_DATASET="mnist")
    assert code == 1 and "train-images" in log, "asked for MNIST, and nothing can be downloaded"
    assert book.runs() == []

    code, log = book.build()
    assert code == 0 and "WARNING: This build uses mnist-5k" in log
    assert "on &lt;mnist-5k&gt;" in book.page("book/data")
    assert has_banner() == [True, True, True]
    assert book.runs() == ["two"]

    folder = tmp_path / "mnist"
    folder.mkdir()
    for name in data.FILES:
        (folder / name).touch()
    code, log = book.build(MNIST_DIR=os.path.relpath(folder))
    assert code == 0 and "data: executed again, data set changed" in log
    assert "0 added, 3 changed" in log, "the banner leaves every page"
    assert f"on &lt;mnist&gt; {folder}" in re.sub(r"</?span[^>]*>", "", book.page("book/data")), "an absolute path"
    assert has_banner() == [False, False, False]
    assert book.runs() == [], "no data in its parameters"

    code, log = book.build()
    assert code == 0 and "0 added, 0 changed, 0 removed" in log, "MNIST is gone, but nothing has to be executed"

    code, log = book.build(MNIST_DIR=str(tmp_path))
    assert code == 1 and str(tmp_path) in log and "MNIST_DIR" in log, "a wrong MNIST_DIR is an error"


def test_unusable_books(tmp_path):
    book = Book(tmp_path, {"two": TWO})
    code, log = book.build(LABCODE_DATASET="cifar")
    assert code == 1 and "'cifar'; expected one of: auto, mnist, mnist-5k" in log

    book.write("two", TWO, kernel="no-such-kernel")
    code, log = book.build()
    assert code == 1 and "two.ipynb was not executed" in log and "no-such-kernel" in log

    notebook = json.loads(book.path("two").read_text())
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    book.path("two").write_text(json.dumps(notebook))
    code, log = book.build()
    assert code == 1 and "no code cell tagged `parameters`" in log

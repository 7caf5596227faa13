"""What a chapter's cells can do to a build: fail, end their kernel, never end, use up memory, print without end."""

import contextlib
import html
import json
import os
import re
import signal
import time
from itertools import pairwise
from types import SimpleNamespace

import bounded_output
import psutil
import pytest
from execution import Execution
from tiny_book import COUNT_RUNS, PIXEL, Book

TWO = ["# Two", 'name = "two"', f"{COUNT_RUNS}\nimport helper\nprint(f'two has {{helper.word}}')"]


def test_failing_cell(tmp_path):
    wrong = ["# Wrong", 'name = "wrong"', 'print("before")', f"{COUNT_RUNS}\ny = 0\n1 / y", 'print("after")']
    book = Book(tmp_path, {"two": TWO, "wrong": wrong})
    with book.start() as build:
        log, errors = build.communicate()
    assert build.returncode == 1 and errors.count("wrong.ipynb: code cell 3 of 4 failed") == 1
    assert "RuntimeError" not in errors and "jupyter_book" not in errors, "no second message by Jupyter Book"
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
    [
        pytest.param("import os; os._exit(1)", "DeadKernelError", marks=pytest.mark.soak),
        ("import sys; sys.exit(0)", "SystemExit"),
    ],
)
def test_cell_that_ends_the_kernel(tmp_path, cell, message):
    book = Book(tmp_path, {"ends": ["# Ends", "seed = 0", 'print("before")', cell, 'print("after")']})
    code, log = book.build()
    assert code == 1
    assert "ends.ipynb: code cell 3 of 4 failed" in log and message in log and cell in log
    assert "before" in book.kept("ends", ".failed.ipynb").read_text()
    assert "completed" not in book.kept("ends", ".failed.ipynb").read_text(), "papermill's word for every cell"
    assert not book.kept("ends").exists()


CELLS = {
    "killed": (
        "import os, subprocess\nfor apart in (False, os.path.exists('/proc/self/environ')):\n"
        "    subprocess.Popen(['sleep', '1001'], start_new_session=apart)\nos.kill(os.getpid(), 9)",
        "DeadKernelError",
    ),
    "memory": ("import resource\nresource.setrlimit(resource.RLIMIT_AS, (10**9, 10**9))\nbytes(10**10)", "MemoryError"),
}


@pytest.mark.parametrize("name", CELLS)
def test_cells_that_end_their_kernel_or_run_out_of_memory(tmp_path, name):
    cell, message = CELLS[name]
    book = Book(tmp_path, {name: ["# Ends", "seed = 0", cell]})
    before = psutil.pids()
    code, log = book.build()
    assert code == 1 and "1 of 1 chapters to execute failed" in log
    assert re.search(rf"{name}.ipynb: code cell 2 of 2 failed.*{message}", log, re.S)
    sleeping = [pid for pid in set(psutil.pids()) - set(before) if is_sleep(pid)]
    assert sleeping == [], "what a kernel had started ends with it"


def is_sleep(pid):
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).cmdline() == ["sleep", "1001"]  # 1000 are of another file
    return False


@pytest.mark.soak
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


def test_half_a_line_of_progress_is_read_once_the_other_half_is_there(tmp_path):
    execution = Execution(SimpleNamespace(key=lambda dataset: {}), tmp_path, "mnist-5k")
    line = json.dumps({"text": "epoch 1 of 5", "waiting": False})
    execution.progress.write_text(line[:9])
    assert execution.new_events() == []
    cut = f"{line[:9]}\n7\n{{}}\n"  # where the disk was full; or not of ours
    execution.progress.write_text(f"{line}\n{cut}{line}\n")
    assert execution.new_events() == ["epoch 1 of 5", "epoch 1 of 5"] and execution.new_events() == []


@pytest.mark.soak
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_interrupt(tmp_path, sign):
    quick, long = (
        ["# Quick", "seed = 0", "import helper\nhelper.word"],
        ["# Long", "seed = 0", "steps = 1", "while steps: steps -= 1"],
    )
    book = Book(tmp_path, {"a_quick": quick, "b_long": long})
    assert book.build()[0] == 0
    (tmp_path / "book" / "helper.py").write_text("word = 'second'\n")
    book.edit("b_long", "steps = 1", "steps = -1")
    with book.start() as build:
        log = ""
        while not ("[a_quick] done" in log and "[b_long 3/3]" in log):
            log += (line := build.stdout.readline())
            assert line, "the build ended by itself"
        kernels = psutil.Process(build.pid).children(recursive=True)
        build.send_signal(sign)
        _, errors = build.communicate(timeout=20)
    assert build.returncode != 0 and "nterrupted" in errors
    assert "Traceback" not in errors and "Warning" not in errors
    assert not [*tmp_path.rglob("*.writing"), *tmp_path.glob("_build/executing")]
    assert kernels and not psutil.wait_procs(kernels, timeout=0.5)[1], "no kernel outlives the build"

    book.edit("b_long", "steps = -1", "steps = 1")
    code, log = book.build()
    assert code == 0 and "a_quick: executed" not in log
    assert "second" in book.page("book/a_quick"), "executed by the interrupted build, shown by the next"


def test_a_cell_that_removes_its_notebook(tmp_path):
    book = Book(tmp_path, {"removes": ["# Removes", "seed = 0", "import os\nos.remove('removes.ipynb')"]})
    code, log = book.build()
    assert code == 1 and "removes.ipynb: this notebook itself changed while it was executed" in log
    assert "Sphinx" not in log.partition("chapters to execute failed")[2] and not book.kept("removes").exists()


@pytest.mark.parametrize("target", ["helper.py", pytest.param("changes.ipynb", marks=pytest.mark.soak)])
def test_a_cell_that_changes_a_source_is_an_error_and_not_a_stale_page(tmp_path, target):
    change = f"text = open({target!r}).read().replace('first', 'second')\nopen({target!r}, 'w').write(text)"
    book = Book(tmp_path, {"changes": ["# Changes", "seed = 0", f"word = 'first'\n{change}"]})
    code, log = book.build()
    assert code == 1
    assert re.search("changes.ipynb(: book/helper.py changed while| was edited during the build).*Build again", log)
    assert book.build()[0] == 0, "it no longer changes anything"


@pytest.mark.soak
def test_a_cell_that_prints_a_hundred_megabytes(tmp_path):
    cells = ["for _ in range(80): print(999_999 * 'x')", "for _ in range(200_000): print(99 * 'x', flush=True)"]
    book = Book(tmp_path, {"prints": ["# Prints", "seed = 0", *cells]})
    with book.start() as build:
        follower = psutil.Process(build.pid)
        peak = 0
        while build.poll() is None:
            peak = max(peak, follower.memory_info().rss)
            time.sleep(0.05)
    assert build.returncode == 0
    left_out = [
        int(number.replace(",", "")) for number in re.findall(r"at least ([\d,]+) ch", book.page("book/prints"))
    ]
    assert left_out[0] == 80_000_000 - bounded_output.LIMIT
    assert 1_000_000 < left_out[1] <= 20_000_000 - bounded_output.LIMIT
    assert len(book.page("book/prints")) < 400_000 and peak < 600e6


@pytest.mark.soak
def test_a_cell_that_shows_or_fails_with_a_long_text(tmp_path):
    shows = "class Long:\n    def __repr__(self):\n        return 3_000_000 * 'x'\nLong()"
    updates = "from IPython.display import display\ndisplay('', display_id='it').update(3_000_000 * 'z')"
    book = Book(tmp_path, {"long": ["# Long", "seed = 0", shows, updates, "pass"]})
    assert book.build()[0] == 0
    left_out = f"[Left out here: {3_000_000 - bounded_output.LIMIT:,} characters more.]"
    assert left_out in book.page("book/long") and len(book.page("book/long")) < 400_000
    assert len(re.findall(r"characters more\.\]", book.page("book/long"))) == 2
    book.edit("long", "pass", "raise ValueError(3_000_000 * 'y')")
    code, log = book.build()
    assert code == 1 and "long.ipynb: code cell 4 of 4 failed" in log and "characters more.]" in log
    assert len(log) < 3 * bounded_output.LIMIT and len(book.kept("long", ".failed.ipynb").read_text()) < 500_000


def test_a_cell_that_shows_much_text_in_whatever_way(tmp_path):
    many = "for number in range(50): display(f'{number}:' + 9_000 * 'x')\nprint('printed at last')"
    markup = "from IPython.display import HTML, Markdown\ndisplay(Markdown(200_000 * 'm '), HTML(200_000 * '<b>h</b>'))"
    mixed = f"print(100_000 * 'p')\ndisplay('shown at last')\ndisplay({{'image/png': '{PIXEL}'}}, raw=True)"
    book = Book(tmp_path, {"much": ["# Much", "seed = 0", many, markup, mixed]})
    assert book.build()[0] == 0
    page = book.page("book/much")
    assert len(page) < 400_000 and "'11:xxx" in html.unescape(page) and "'12:xxx" not in html.unescape(page)
    shown = re.sub("<[^>]*>", "", page)
    assert "[Left out here: at least 350," in shown and page.count('src="../_images/') == 1, "no figure is left out"
    assert "[Left out here: text/markdown of 400,000 characters.]" in shown
    assert "[Left out here: text/html of 1,600,000 characters.]" in shown
    sources = html.unescape(shown)
    assert sources.count("printed at last") == 1 and sources.count("shown at last") == 1, "in the cell alone"


@pytest.mark.parametrize(
    ("figure", "wrong"),
    [
        ({"caption": 3}, "name, caption, alt"),
        ({"name": "fig-a", "caption": "A[^1]\n\n[^1]: <script>alert(1)</script>", "alt": "a"}, "caption"),
    ],
)
def test_a_figure_without_what_its_page_needs_fails_its_cell(tmp_path, figure, wrong):
    shows = f"display({{'image/png': '{PIXEL}'}}, raw=True, metadata={{'labcode': {figure!r}}})"
    book = Book(tmp_path, {"shows": ["# Shows", "seed = 0", shows]})
    code, log = book.build()
    assert code == 1 and "shows.ipynb: code cell 2 of 2 failed" in log and not book.kept("shows").exists()
    assert f"a figure whose {wrong} is missing or no line" in log


def test_after_a_failure_is_seen_no_further_chapter_is_started(tmp_path, monkeypatch):
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    book = Book(tmp_path, {name: ["# Chapter", f"name = {name!r}", COUNT_RUNS, "1 / 0"] for name in ("a", "b", "c")})
    code, log = book.build()
    assert code == 1 and "a.ipynb: code cell 3 of 3 failed" in log
    assert "c" not in book.runs(), "b may have begun before the failure was seen"


def test_a_cell_that_shows_what_is_no_png(tmp_path):
    book = Book(tmp_path, {"shows": ["# Shows", "seed = 0", "display({'image/png': 'QUJD'}, raw=True)"]})
    code, log = book.build()
    assert code == 1 and "shows.ipynb: code cell 2 of 2 failed" in log and "it does not begin as a PNG" in log


OTHER_KINDS = ("image/gif", "image/jpeg", "application/pdf")


@pytest.mark.parametrize("kind", ["image/png", *[pytest.param(kind, marks=pytest.mark.soak) for kind in OTHER_KINDS]])
@pytest.mark.parametrize("content", ["'cut'", "5"])
def test_a_cell_that_shows_what_is_no_base64(tmp_path, kind, content):
    shows = f"from IPython.display import display\ndisplay({{'{kind}': {content}}}, raw=True)"
    book = Book(tmp_path, {"shows": ["# Shows", "seed = 0", shows, "pass"]})
    code, log = book.build()
    assert code == 1 and "shows.ipynb: code cell 2 of 3 failed" in log
    assert f"{kind} that is no base64 of one" in log and "Traceback" not in log and not book.kept("shows").exists()


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

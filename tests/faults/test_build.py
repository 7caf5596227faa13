"""The build: whatever happens to it, the right pages or one clear message, and nothing left running.

What a chapter's cells can do is in ``test_cells.py``; what data cannot be used, in ``test_idx_files.py``.
"""

import contextlib
import html
import json
import logging
import os
import random
import re
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import bounded_output
import means
import nbformat
import papermill_chapters
import psutil
import pytest
import report_pages
import requests
from docutils import nodes
from sphinx.errors import ExtensionError
from tiny_book import COMMAND, COUNT_RUNS, PIXEL, Book

ROOT = Path(__file__).parents[2]
OTHER_PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGPgTOYEAADuAHYk2GM0AAAAAElFTkSuQmCC"
WORD = ["# Word", 'name = "word"', f"{COUNT_RUNS}\nimport helper\nprint(f'the word is {{helper.word}}')"]
WHOLE = [
    "# Whole",
    'name = "whole"',
    "import helper\nfrom labcode import publish\nprint(f'whole is {helper.word}')",
    "publish.file('published.bin', 300_000 * helper.word[:1].encode())",
    f'display({{"image/png": "{PIXEL}"}}, raw=True)',
]


CLEARS = [
    "# Clears",
    "seed = 0\nfrom IPython.display import clear_output",
    "for _ in range(30): clear_output(wait=True); print(5_000 * 'x')\nclear_output(); print('the', 'last of cell 1')",
    "for _ in range(30): print(8_000 * 'x')\nclear_output(wait=True); print('the', 'last of cell 2')",
]


def processes_of(book):
    """The processes that work on a book: its builds, and the kernels, whose connection files lie in its folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid != os.getpid() and str(book.root) in " ".join(process.cmdline()):
                found.append(process)
    return found


def pages(book):
    """All that the build left to be read, a dict name: content, without times and the versions of style sheets."""
    files = {
        path.relative_to(book.pages).as_posix(): path.read_bytes() for path in book.pages.rglob("*") if path.is_file()
    }
    for name in [name for name in files if name.endswith(".html")]:
        files[name] = re.sub(rb"\d{4}-\d\d-\d\d \d\d:\d\d UTC \S+ \d+ s|\?v=\w+", b"", files[name])
    for name in (".papermill_chapters.json", ".buildinfo", "searchindex.js"):  # with digests and words of these times
        del files[name]
    return files


def left_over(book):
    """What a build writes for itself alone, and should have removed."""
    folder = book.root / "_build"
    return [*folder.glob("executing"), *folder.rglob("*.writing")]


# Notebooks that cannot be used


def without_parameters(text):
    notebook = json.loads(text)
    for cell in notebook["cells"]:
        cell["metadata"] = {}
    return json.dumps(notebook)


def with_injected(text):
    notebook = json.loads(text)
    notebook["cells"][2]["metadata"] = {"tags": ["injected-parameters"]}
    return json.dumps(notebook)


BAD = {
    "cut": (lambda text: text[: len(text) // 2], "cut.ipynb is no notebook: Notebook does not appear to be JSON"),
    "deep": (lambda text: 100_000 * "[", "deep.ipynb is no notebook: "),
    "empty": (lambda text: "", "empty.ipynb is no notebook: Notebook does not appear to be JSON"),
    "future": (
        lambda text: text.replace('"nbformat": 4', '"nbformat": 9'),
        "no notebook: Unsupported nbformat version 9",
    ),
    "list": (lambda text: "[]", "list.ipynb is no notebook: "),
    "number": (lambda text: json.dumps({**json.loads(text), "cells": [3]}), "number.ipynb is no notebook: "),
    "other": (without_parameters, "other.ipynb has no code cell tagged `parameters`"),
    "half": (lambda text: text.replace("# Word", r"\ud800"), "half.ipynb is no notebook: 'utf-8' codec can't encode"),
    "injected": (with_injected, "injected.ipynb has a cell tagged `injected-parameters`"),
    "bytes": (
        lambda text: text.replace('name = \\"word\\"', "seed = b'word'"),
        "seed b'word': expected a whole number. Expected parameters that are literals",
    ),
    "unhashable": (
        lambda text: text.replace('name = \\"word\\"', "name = {[]: 1}"),
        "unhashable type: 'list'. Expected parameters that are literals",
    ),
    "negated": (
        lambda text: text.replace('name = \\"word\\"', f"name = {5_000 * '-'}1"),
        "Expected parameters that are literals",
    ),
    "typed": (
        lambda text: text.replace('name = \\"word\\"', "name = open(3)"),
        "Expected parameters that are literals",
    ),
}


def test_one_error_names_all_notebooks_that_cannot_be_used(tmp_path):
    book = Book(tmp_path, dict.fromkeys([*BAD, "word"], WORD))
    for name, (spoil, _) in BAD.items():
        book.path(name).write_text(spoil(book.path(name).read_text()))
    code, log = book.build()
    assert code == 1 and book.runs() == [] and log.count("Extension error") == 1
    assert len(re.findall(r"^/.*ipynb", log, re.M)) == len(BAD), "a line each"
    for _, message in BAD.values():
        assert message in log
    assert not left_over(book)


@pytest.mark.parametrize("formula", [r"\foo", r"\foo{x}"])
def test_a_formula_that_cannot_be_read_is_named(formula):
    with pytest.raises(ExtensionError, match=f"{re.escape(repr(formula))}: .*Write the formula with what docutils can"):
        report_pages.as_mathml(nodes.math("", formula))


GONE = {
    "missing": lambda path: path.unlink(),
    "folder": lambda path: (path.unlink(), path.mkdir()),
    "circle": lambda path: (path.unlink(), path.symlink_to(path)),
}


def test_chapters_that_are_not_there_are_one_error_and_their_pages_stay(tmp_path):
    book = Book(tmp_path, dict.fromkeys(GONE, WORD))
    toc = tmp_path / "_toc.yml"
    toc.write_text(toc.read_text().replace("book/circle", "book/circle.ipynb"))
    assert book.build()[0] == 0
    for name, remove in GONE.items():
        remove(book.path(name))
    code, log = book.build()
    assert code == 1 and log.count("Extension error") == 1
    for name in GONE:
        assert re.search(rf"_toc.yml names book/{name}(.ipynb)?, of which there is no file that can be read", log)
        assert "the word is first" in book.page(f"book/{name}")


# What gives the right pages all the same


@pytest.fixture(scope="module")
def book(tmp_path_factory):
    """A book in a folder of difficult name, with chapters of older formats, one that writes and one that prints."""
    prints = ["# Prints", "seed = 0", "for number in range(30_000): print('line', number)", "print('more')"]
    leaves = "open('notes.txt', 'w').write('in the source folder')\nprint('written')"
    writes = ["# Writes", "seed: int\nseed = 0", leaves]
    names = {"word": WORD, "minor": WORD, "major": WORD, "prints": prints, "clears": CLEARS, "writes": writes}
    book = Book(tmp_path_factory.mktemp("books") / "Ein Büchlein, 本", names, nb_merge_streams=True)
    minor = json.loads(book.path("minor").read_text())
    minor["nbformat_minor"] = 2
    for cell in minor["cells"]:
        del cell["id"]
    book.path("minor").write_text(json.dumps(minor))
    major = nbformat.convert(nbformat.read(book.path("major"), as_version=4), 3)
    book.path("major").write_text(nbformat.v3.writes_json(major))
    book.code, book.log = book.build()
    return book


def test_in_a_folder_with_spaces_and_letters_of_other_scripts(book):
    assert book.code == 0, book.log
    assert "the word is first" in book.page("book/word")
    assert not left_over(book) and not processes_of(book)


@pytest.mark.parametrize("name", ["minor", "major"])
def test_a_notebook_of_an_older_format_is_executed_and_shown(book, name):
    assert "the word is first" in book.page(f"book/{name}")
    assert json.loads(book.path(name).read_text())["nbformat"] == {"minor": 4, "major": 3}[name], "the source stays"


def test_of_much_print_the_page_has_the_first_part_and_says_so(book):
    shown = re.sub("<[^>]*>", "", book.page("book/prints"))
    printed = "".join(f"line {number}\n" for number in range(30_000))
    assert printed[:10_000] in shown and len(shown) < bounded_output.LIMIT + 20_000
    # at least: of what a kernel prints faster than it is read, ZeroMQ may drop messages
    (left_out,) = re.findall(r"\[Left out here: at least ([\d,]+) characters more\.\]", shown)
    assert 0 < int(left_out.replace(",", "")) <= len(printed) - bounded_output.LIMIT


def test_what_is_printed_after_much_was_cleared_is_on_the_page(book):
    shown = re.sub("<[^>]*>", "", book.page("book/clears"))
    assert "the last of cell 1" in shown and "the last of cell 2" in shown
    assert "Left out here" not in shown and "xxxxxxxxxx" not in shown


def test_a_cell_that_writes_a_file_beside_the_sources_does_no_harm(book):
    assert "written" in book.page("book/writes") and (book.root / "book" / "notes.txt").exists()
    assert "executed" not in book.build()[1]


def test_pages_follow_their_sources_whatever_times_their_files_have(book):
    assert book.build()[0] == 0
    book.runs()
    for year in (1980, 2080):  # set back, and files from the future
        then = time.mktime((year, 1, 1, 0, 0, 0, 0, 0, 0))
        (book.root / "intro.md").write_text(f"# Introduction\n\nIn {year}.\n")
        book.edit("word", "# Word", f"# Word\n\nIn {year}.\n")
        book.edit("writes", "print('", f"print('{year} ")
        for path in (book.root / "intro.md", book.path("word"), book.path("writes")):
            os.utime(path, (then, then))
        assert book.build()[0] == 0 and book.runs() == [], "prose executes nothing"
        assert f"In {year}." in book.page("intro") and f"In {year}." in book.page("book/word")
        assert len(re.findall(f"{year} .*written", book.page("book/writes"))) == 2, "in the cell and in its output"


def test_a_build_waits_for_another_one(book):
    lock = book.root / "_build" / "building.lock"
    with subprocess.Popen(means.command(means.HOLD, lock), stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        with book.start("-u") as build:
            assert any("waiting for another build in" in line for line in build.stdout)
            other.stdin.close()
            _, errors = build.communicate(timeout=means.PATIENCE)
    assert build.returncode == 0, errors


# What a build has kept, and what it reads


KEPT = {
    "cut": lambda text: text[: len(text) // 2],
    "a list": lambda text: "[]",
    "too deep": lambda text: 100_000 * "[",
    "without its record": lambda text: text.replace('"papermill_chapters"', '"something_else"'),
    "an output altered": lambda text: text.replace("the word is", "the answer is"),
}


@pytest.mark.soak
def test_kept_executions_that_are_damaged_are_made_anew(tmp_path):
    book = Book(tmp_path, {name: [WORD[0], f"name = {name!r}", WORD[2]] for name in ("whole", *map(named, KEPT))})
    assert book.build()[0] == 0 and len(book.runs()) == 1 + len(KEPT)
    for damage, spoil in KEPT.items():
        path = book.kept(named(damage))
        whole = path.read_text("utf-8")
        path.write_text(spoil(whole), "utf-8")
        assert path.read_text("utf-8") != whole
    code, log = book.build()
    assert code == 0 and book.runs() == sorted(map(named, KEPT)), log
    for name in map(named, KEPT):
        assert "the word is first" in book.page(f"book/{name}") and "the answer is" not in book.page(f"book/{name}")


def named(damage):
    """The name of the chapter whose kept execution has that damage."""
    return damage.replace(" ", "-")


@pytest.mark.soak
def test_a_page_or_a_figure_that_is_damaged_is_written_anew(tmp_path):
    cells = ["# Figure", "seed = 0", f'display({{"image/png": "{PIXEL}"}}, raw=True)']
    book = Book(tmp_path, {"figure": cells})
    assert book.build()[0] == 0
    folders = (tmp_path / "_build" / name for name in ("jupyter_execute", "html/_images"))
    figures = [next(folder.glob("*.png")) for folder in folders]
    names = ("index.html", "intro.html", "book/figure.html", "_sources/book/figure.ipynb")
    files = [*figures, *(book.pages / name for name in names)]
    (tmp_path / "_build" / "jupyter_execute" / "v1.0").mkdir()  # as MyST-NB makes for a folder of this name

    def contents():
        return [re.sub(rb"\?v=\w+", b"", path.read_bytes()) for path in files]

    whole = contents()
    for path in files:
        path.write_bytes(b"cut")
        assert book.build()[0] == 0 and contents() == whole, path
    for path in files:
        path.unlink()
    assert book.build()[0] == 0 and contents() == whole
    _, log = book.build()
    assert "0 added, 0 changed" in log
    book.edit("figure", PIXEL, OTHER_PIXEL)
    assert book.build()[0] == 0
    for old in figures:
        assert not old.exists() and len(list(old.parent.glob("*.png"))) == 1, "a figure that no page shows goes"


def test_a_chapter_that_leaves_the_book_takes_its_page_and_figures_along(tmp_path):
    figure = f'display({{"image/png": "{PIXEL}"}}, raw=True)'
    book = Book(tmp_path, {"stays": ["# Stays", "seed = 0"], "goes": ["# Goes", "seed = 0", figure]})
    assert book.build()[0] == 0 and list(tmp_path.glob("_build/html/_images/*.png"))
    toc = tmp_path / "_toc.yml"
    toc.write_text(toc.read_text().replace("- file: book/goes\n", ""))
    assert book.build()[0] == 0 and not (book.pages / "book" / "goes.html").exists()
    assert not list(book.pages.glob("_sources/**/goes*"))
    assert not list(tmp_path.glob("_build/html/_images/*.png")) and "Stays" in book.page("book/stays")


def test_temporary_files_of_a_kernel_go_with_it(tmp_path):
    book = Book(tmp_path, {"makes": ["# Makes", "seed = 0", "import tempfile\nprint(f'made:{tempfile.mkdtemp()}:')"]})
    assert book.build()[0] == 0
    made = Path(re.search("made:(/[^:<]*):", book.page("book/makes"))[1])
    assert made.parent.name.startswith("labcode-") and not made.parent.exists() and not left_over(book)


def test_what_a_killed_build_was_executing_is_no_hindrance(tmp_path):
    book = Book(tmp_path, {"word": WORD})
    left = tmp_path / "_build" / "executing" / "book" / "word" / "published" / "left.bin"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"left")
    code, log = book.build()
    assert code == 0 and "the word is first" in book.page("book/word"), log
    assert not list(book.pages.rglob("left.bin")) and not left_over(book)


def test_a_link_is_not_published(tmp_path):
    (tmp_path / "secret").write_text("a secret")
    links = f"import os\nos.symlink('{tmp_path / 'secret'}', os.environ['LABCODE_PUBLISH'] + '/link.txt')"
    book = Book(tmp_path / "book", {"links": ["# Links", "seed = 0", links]})
    assert book.build()[0] == 0 and not list(book.pages.rglob("link.txt"))


def test_a_published_file_whose_name_is_no_text_fails_its_chapter_alone(tmp_path):
    name = "os.environb[b'LABCODE_PUBLISH'] + b'/\\xff.bin'"
    book = Book(tmp_path, {"names": ["# Names", "seed = 0", f"import os\nopen({name}, 'w').close()"], "word": WORD})
    code, log = book.build()
    assert code == 1 and "1 of 2 chapters to execute failed" in log
    assert "names.ipynb: its outputs, or what it publishes, cannot be kept: 'utf-8' codec can't encode" in log
    book.runs()
    book.edit("names", "xff.bin", "x66.html")
    code, log = book.build()
    assert code == 1 and "names.ipynb: its outputs, or what it publishes, cannot be kept: publish.file: the name" in log
    book.edit("names", "x66.html", "x66.bin")
    assert book.build()[0] == 0 and book.runs() == [] and (book.pages / "f.bin").exists()


def test_a_kernel_answers_at_files_and_not_at_ports_that_another_process_could_take(tmp_path):
    looks = "import os, tempfile\nprint(f'at: {sorted(os.listdir(tempfile.gettempdir()))}')"
    book = Book(tmp_path, {"looks": ["# Looks", "seed = 0", looks]})
    assert book.build()[0] == 0
    assert f"at: {[f'socket-{n}' for n in range(1, 6)]}" in html.unescape(
        re.sub("<[^>]*>", "", book.page("book/looks"))
    )


@pytest.mark.soak
def test_a_folder_for_temporary_files_whose_name_is_too_long_for_sockets_is_one_message(tmp_path):
    book, folder = Book(tmp_path, {"word": WORD}), tmp_path / (100 * "x")
    folder.mkdir()
    book.env["TMPDIR"] = str(folder)
    code, log = build_behind([], book)
    assert code == 1 and "Set TMPDIR to another folder" in log and log.count(str(folder)) == 1
    assert book.runs() == [] and not list(folder.iterdir()) and not left_over(book)


def test_what_stands_in_the_place_of_a_kept_execution_is_one_message(book):
    assert book.build()[0] == 0
    book.kept("word").unlink()
    book.kept("word").mkdir()
    code, log = book.build()
    assert code == 1 and "word.ipynb'. Make room, give the permission, or remove what stands in its place" in log
    book.kept("word").rmdir()
    assert book.build()[0] == 0


def test_what_is_no_fault_of_a_build_is_told_as_python_tells_it(capsys):
    papermill_chapters.tell_once(ValueError, ValueError("another fault"), None)
    assert "ValueError: another fault" in capsys.readouterr().err


@pytest.mark.soak
def test_a_note_of_the_pages_that_is_damaged_has_them_written_anew(tmp_path):
    book = Book(tmp_path, {"word": WORD})
    assert book.build()[0] == 0
    no_contents = {"files": {}, "dataset": "mnist-5k", "contents": [1]}
    for damaged in ("", "[]", '{"files": {}}', '{"files": [1]}', json.dumps(no_contents)):
        (book.pages / ".papermill_chapters.json").write_text(damaged)
        (book.pages / "book" / "word.html").write_text("cut")
        assert book.build()[0] == 0 and "the word is first" in book.page("book/word")


@pytest.mark.parametrize(
    "name",
    [
        "labcode/claims.toml",
        *(pytest.param(f"results/{name}.json", marks=pytest.mark.soak) for name in ("mnist-5k", "mnist", "bench")),
    ],
)
def test_claims_or_records_that_were_edited_are_one_message_before_any_kernel_starts(tmp_path, name):
    checkout = tmp_path / "checkout"
    for folder in ("labcode", "results"):
        shutil.copytree(ROOT / folder, checkout / folder)
    path = checkout / name
    path.write_text(path.read_text("utf-8") + "[", "utf-8")
    book = Book(tmp_path / "book", {"word": WORD})
    book.env["PYTHONPATH"] = str(checkout)
    code, log = build_behind([], book)
    assert code == 1 and book.runs() == []
    assert log.count(path.name) == 1 and "restore the file from version control" in log and "Traceback" not in log


# Processes that die


def wait_for_its_end(book):
    """Wait until no kernel works on a book whose build was ended; they look every second whether it is there."""
    assert not psutil.wait_procs(processes_of(book), timeout=20)[1], "still running"


# Of a session of its own, and with another folder for temporary files, where that can be found out.
STARTS = """import os, subprocess, tempfile
command, apart = ['sh', '-c', 'sleep 1000; true', os.getcwd()], os.path.exists('/proc/self/environ')
subprocess.Popen(command, start_new_session=apart, env=os.environ | {'TMPDIR': '/tmp'})"""


@pytest.mark.parametrize("sign", [signal.SIGKILL, pytest.param(signal.SIGHUP, marks=pytest.mark.soak)])
def test_of_a_build_that_is_killed_nothing_runs_on_and_no_temporary_file_is_left(tmp_path, sign):
    book = Book(tmp_path, {"starts": ["# Starts", "seed = 0", STARTS, "while True: pass"]})
    with tempfile.TemporaryDirectory() as temporary:  # a short name, for sockets
        book.env["TMPDIR"] = temporary
        with book.start() as build:
            assert any("[starts 3/3]" in line for line in build.stdout)
            assert len(processes_of(book)) == 3 and os.listdir(temporary), "the build, its kernel, what that starts"
            build.send_signal(sign)
            build.communicate(timeout=means.PATIENCE)
            wait_for_its_end(book)
        assert build.returncode == -sign and means.wait_until(lambda: os.listdir(temporary) == [])


def end_at_random(folder, sign, times):
    """End builds by a signal, at random moments; afterwards a plain build gives what an undisturbed one gives."""
    book = Book(folder, {"word": WORD, "whole": WHOLE, "starts": ["# Starts", "seed = 0", STARTS]})
    expected = {}
    for word in ("first", "second"):
        (folder / "book" / "helper.py").write_text(f"word = {word!r}\n")
        shutil.rmtree(folder / "_build", ignore_errors=True)
        begun = time.monotonic()
        assert book.build()[0] == 0
        expected[word], seconds = pages(book), time.monotonic() - begun
    moments, number = random.Random(sign), 0
    with tempfile.TemporaryDirectory() as temporary:  # a short name, for sockets
        book.env["TMPDIR"] = temporary
        while number < times:
            word = ("first", "second")[number % 2]
            (folder / "book" / "helper.py").write_text(f"word = {word!r}\n")
            with book.start() as build:
                build.stdout.readline()
                time.sleep(moments.uniform(0, 1.2 * seconds))
                build.send_signal(sign)
                build.communicate(timeout=means.PATIENCE)
                wait_for_its_end(book)
            number += build.returncode != 0  # else it had come to its end
            code, log = book.build()
            assert code == 0, log
            assert pages(book) == expected[word] and not left_over(book), number
            assert means.wait_until(lambda: os.listdir(temporary) == [])


@pytest.mark.soak
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_ended_at_any_moment_a_build_leaves_nothing_that_misleads_the_next(tmp_path, sign):
    end_at_random(tmp_path, sign, times=25)


@pytest.mark.soak
def test_builds_at_once_in_one_folder_give_what_one_gives(tmp_path):
    book = Book(tmp_path, {"word": WORD, "whole": WHOLE})
    assert book.build()[0] == 0 and book.runs() == ["word"]
    expected = pages(book)
    shutil.rmtree(tmp_path / "_build")
    with contextlib.ExitStack() as stack:
        builds = [stack.enter_context(book.start()) for _ in range(3)]
        outputs = [build.communicate(timeout=means.PATIENCE) for build in builds]
    assert [build.returncode for build in builds] == [0, 0, 0], outputs
    assert book.runs() == ["word"], "the others found what the first one kept"
    assert pages(book) == expected and not left_over(book)


# Disks that are full, and folders that cannot be written


def build_behind(prefix, book):
    """Build as a user does, behind a prefix: exit code and all that was printed."""
    env = {name: value for name, value in os.environ.items() if name != "MNIST_DIR"} | book.env
    command = [*prefix, COMMAND, "build", str(book.root)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=means.PATIENCE, check=False)
    return done.returncode, done.stdout + done.stderr


@pytest.fixture
def whole(tmp_path):
    """A book that was built, and all of whose chapters must be executed again."""
    book = Book(tmp_path / "book", {"word": WORD, "whole": WHOLE})
    assert book.build()[0] == 0
    book.expected = pages(book)
    (book.root / "book" / "helper.py").write_text("word = 'first'  # anew\n")
    return book


@pytest.mark.soak
def test_where_there_is_no_room_a_build_says_so_and_the_next_is_right(whole):
    for kilobytes in (2, 20, 100, 200):  # from the executed notebooks to Sphinx's own files
        code, log = build_behind(means.small_files(kilobytes), whole)
        assert code == 1 and "File too large" in log, (kilobytes, log)
        assert not left_over(whole) and not processes_of(whole)
    assert whole.build()[0] == 0 and pages(whole) == whole.expected


# Build without room, look what is left, make room, build once more and take the pages out of that file system.
TWICE = """
"$@"; echo "code $?"; find "$0" -name "*.writing" -o -name executing
mount -o remount,size=100m "$0" && "$@" && echo "then $?" && cp -r "$0/html" "$0/../pages"
"""


@pytest.mark.soak
def test_on_a_full_disk_a_build_says_so_and_leaves_no_half_file(tmp_path):
    book, folder, elsewhere = Book(tmp_path, {"word": WORD, "whole": WHOLE}), tmp_path / "_build", tmp_path / "pages"
    assert book.build()[0] == 0
    expected = pages(book)
    shutil.rmtree(folder)
    folder.mkdir()
    twice = ["sh", "-c", TWICE, str(folder)]
    for kilobytes in (8, 100, 1_000, 3_000, 6_000):  # all that is written takes about 8 MB
        code, log = build_behind([*means.little_room(folder, kilobytes), *twice], book)
        assert code == 0 and "code 1\n" in log and "then 0\n" in log, (kilobytes, log)
        assert "No space left on device" in log and str(folder / "executing") not in log and ".writing" not in log, log
        assert not processes_of(book)
        shutil.move(elsewhere, folder / "html")
        assert pages(book) == expected
        shutil.rmtree(folder / "html")


@pytest.mark.soak
def test_read_only_sources_are_built_and_a_read_only_build_is_an_error(whole):
    sources = [path for path in whole.root.rglob("*") if "_build" not in path.parts] + [whole.root]
    helper = whole.root / "book" / "helper.py"
    with read_only(sources):
        code, log = build_behind(means.UNPRIVILEGED, whole)
        assert code == 1 and "PermissionError" in log, "this book's chapter writes there"
    whole.edit("word", COUNT_RUNS, "")
    with read_only(sources):
        assert build_behind(means.UNPRIVILEGED, whole)[0] == 0
    helper.write_text("word = 'second'\n")
    with read_only([whole.root / "_build", *(whole.root / "_build").rglob("*")]):
        code, log = build_behind(means.UNPRIVILEGED, whole)
        assert code == 1 and "Permission denied" in log
    assert whole.build()[0] == 0 and "second" in whole.page("book/word")
    shutil.rmtree(whole.root / "_build")
    with read_only(sources):
        code, log = build_behind(means.UNPRIVILEGED, whole)
        assert code == 1 and f"Permission denied: '{whole.root / '_build'}'" in log and "sphinx-err" not in log
    whole.path("word").chmod(0)
    code, log = build_behind(means.UNPRIVILEGED, whole)
    assert code == 1 and "_toc.yml names book/word, of which there is no file that can be read" in log


@pytest.mark.parametrize("place", ["a page", "a figure"])
def test_a_page_or_figure_that_cannot_be_written_is_an_error_and_written_later(tmp_path, place):
    book = Book(tmp_path, {"shows": ["# Shows", "seed = 0", f'display({{"image/png": "{PIXEL}"}}, raw=True)']})
    assert book.build()[0] == 0
    page = book.pages / "book" / "shows.html"
    page.unlink()
    (old,) = (book.pages / "_images").iterdir()
    book.edit("shows", PIXEL, OTHER_PIXEL)
    folder = page.parent if place == "a page" else old.parent
    with read_only([folder]):
        for _ in range(2):
            code, log = build_behind(means.UNPRIVILEGED, book)
            assert code == 1 and log.count("Permission denied") == 2 and "Traceback" not in log, log
            assert "Make room, give the permission, or remove what stands in its place" in log
    assert book.build()[0] == 0 and "<figure" not in page.read_text("utf-8")
    (new,) = (book.pages / "_images").iterdir()
    assert page.read_text("utf-8").count(f'src="../_images/{new.name}"') == 1 and new.name != old.name


def test_a_download_that_fails_is_no_page_that_cannot_be_written(tmp_path):
    collects = papermill_chapters.Unwritten()
    collects.emit(logging.makeLogRecord({"args": ("an image", requests.ConnectionError("refused"))}))
    collects.raise_any(tmp_path)
    collects.emit(logging.makeLogRecord({"args": ("a page", OSError(27, "File too large"))}))
    with pytest.raises(OSError, match="too large"):
        collects.raise_any(tmp_path)


def test_a_kept_execution_longer_than_any_memory_is_made_anew(tmp_path):
    book = Book(tmp_path, {"word": WORD})
    assert book.build()[0] == 0 and book.runs() == ["word"]
    os.truncate(book.kept("word"), 2**40)
    code, log = book.build()
    assert code == 0 and book.runs() == ["word"] and "the word is first" in book.page("book/word"), log


def test_where_sphinx_cannot_write_there_is_one_message(tmp_path):
    book = Book(tmp_path, {"word": WORD})
    with read_only([tmp_path]):
        code, log = build_behind(means.UNPRIVILEGED, book)
    assert code == 1 and log.count("Permission denied") == 1 and "traceback" not in log.lower(), log
    (tmp_path / "_build").mkdir()
    for name in (".doctrees", "jupyter_execute"):
        (tmp_path / "_build" / name).touch()  # where a folder is to be
        code, log = build_behind([], book)
        assert code == 1 and "remove what stands in its place" in log and "traceback" not in log.lower(), log
        (tmp_path / "_build" / name).unlink()
    shutil.rmtree(tmp_path / "_build" / "html")
    assert book.build()[0] == 0
    book.edit("word", "f'the word is", "30_000 * '<' + f'the word is")
    code, log = build_behind(means.small_files(kilobytes=100), book)  # only the page is larger
    assert code == 1 and "File too large" in log and "traceback" not in log.lower(), log
    assert not (book.pages / "book" / "word.html").exists()
    assert book.build()[0] == 0 and book.page("book/word").rstrip().endswith("</html>")


@contextlib.contextmanager
def read_only(paths):
    """Take the permission to write these, for a while."""
    modes = {path: path.stat().st_mode for path in paths if path.exists()}
    for path, mode in modes.items():
        path.chmod(mode & ~0o222)
    try:
        yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)

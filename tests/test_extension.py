"""The Sphinx extension, through real builds of tiny books."""

import functools
import hashlib
import html
import os
import re
import resource
import shutil
import struct
import zipfile
from itertools import pairwise

import nbformat
import pytest
import report_pages
import yaml
from chapter import Chapter
from sphinx.environment.collectors.toctree import TocTreeCollector
from tiny_book import COUNT_RUNS, EXTENSION, PIXEL, Book

from labcode import data, provenance

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
    """A book that was built once, and its pages then; whoever changes it builds it again."""
    book = Book(tmp_path_factory.mktemp("book"), {"one": ONE, "two": TWO})
    notebook = nbformat.read(book.path("two"), as_version=4)
    notebook.cells[2].metadata["tags"] = ["skip-execution"]  # nbclient's word; tags are no part of the key
    nbformat.write(notebook, book.path("two"))
    source = book.path("one").read_bytes()
    book.first_build = book.build()
    book.first_runs = book.runs()
    book.first_pages = {name: book.page(f"book/{name}") for name in ("one", "two")}
    book.source_stays = book.path("one").read_bytes() == source
    return book


def test_first_build(book):
    code, log = book.first_build
    assert code == 0
    assert book.first_runs == ["one", "two"]
    assert "one: executed for the first time" in log
    assert book.source_stays


def test_outputs_are_on_the_page(book):
    page = book.first_pages["one"]
    assert "The word is first!, the number 1.23" in re.sub(r"<[^>]*>", "", page)
    assert "on &lt;mnist-5k&gt;" in page, "papermill sets `dataset`"
    assert "# Parameters" not in page, "the injected cell does not show"
    parameters = re.findall(r'dataset = "(.*)"', html.unescape(re.sub(r"<[^>]*>", "", page)))
    assert parameters == ["mnist-5k"], "the cell shows what it was executed with"
    provenance = re.search(r'class="provenance[^>]*>\s*<p>(.*)</p>', page)[1]
    assert re.search(r"mnist-5k, .* seed 7 .*Python 3\..*NumPy .* UTC · \d+ s", provenance)
    assert "mnist-5k" not in re.search(r'class="provenance[^>]*>\s*<p>(.*)</p>', book.first_pages["two"])[1]


def test_figure_has_caption_number_and_alternative_text(book):
    page = book.first_pages["one"]
    figure = re.search(r'<figure[^>]*id="fig-dot".*?</figure>', page, re.S)[0]
    assert 'alt="one black pixel"' in figure
    assert "Fig. 1 A *dot*." in re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", figure))
    assert re.search(r'href="#fig-dot"[^>]*>(<[^>]*>)*Fig. 1', page), "numref"
    assert page.count("<figure") == 1, "the number 42 beside it is no figure"
    assert len(re.findall(r"6</span>.*\*", page)) == 1, "its cell shows once"


def test_rebuild_executes_and_imports_nothing(book):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    with book.start("-X", "importtime") as build:
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
    word = re.search("'(.*)'", (book.root / "book" / "helper.py").read_text())[1]  # another test changes it
    assert f"now two has {word}" in book.page("book/two")


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


def test_each_component_of_the_key_and_no_other_file_executes(tmp_path, monkeypatch, request):
    """What is found to have changed after each change; the chapter ``two`` has no data set in its parameters."""
    one = ["# One", 'name = "one"\ndataset = "mnist-5k"', f"{COUNT_RUNS}\nseed = 1"]
    sources = ["book/parts", "book/records.json"]
    book = Book(tmp_path, {"one": one, "two": TWO}, papermill_sources=sources)
    parts = tmp_path / "book" / "parts"
    (parts / "deep" / "__pycache__").mkdir(parents=True)
    (parts / "deep" / "x.py").write_text("x = 1")
    assert book.build()[0] == 0 and book.runs() == ["one", "two"], "a source that is missing is no error"
    keys = [keys_of(book, sources)]

    def changed():
        """By chapter, the components of the key that have changed since the last call."""
        keys.append(keys_of(book, sources))
        before, now = keys[-2:]
        different = {name: {part for part in now[name] if now[name][part] != before[name][part]} for name in now}
        return {name: parts for name, parts in different.items() if parts}

    assert changed() == {}
    for name in ("x.py~", "x.py.writing", ".x.py.swp", "__pycache__/x.cpython-311.pyc", "notes.md"):
        (parts / "deep" / name).write_text("of an editor, or made by Python")
    (tmp_path / "book" / "other.json").write_text("{}")
    assert changed() == {}, "no source"

    (parts / "deep" / "x.py").write_text("x = 2")
    assert changed() == {"one": {"book/parts"}, "two": {"book/parts"}}
    (parts / "new.toml").write_text("x = 1")
    assert changed() == {"one": {"book/parts"}, "two": {"book/parts"}}
    (parts / "new.toml").rename(parts / "renamed.toml")
    assert changed() == {"one": {"book/parts"}, "two": {"book/parts"}}
    (tmp_path / "book" / "records.json").write_text("{}")
    assert changed() == {"one": {"book/records.json"}, "two": {"book/records.json"}}

    monkeypatch.setitem(data.DIGESTS, "mnist-5k", "of other data")
    assert changed() == {"one": {"data set"}}
    (tmp_path / "site" / "tensorflow-99.dist-info").mkdir(parents=True)
    (tmp_path / "site" / "tensorflow-99.dist-info" / "METADATA").write_text("Name: tensorflow\nVersion: 99\n")
    monkeypatch.syspath_prepend(tmp_path / "site")
    provenance.versions.cache_clear()  # a build has a process of its own
    request.addfinalizer(provenance.versions.cache_clear)
    assert changed() == {"one": {"library versions"}, "two": {"library versions"}}

    code, log = book.build()
    assert code == 0 and book.runs() == ["one", "two"]
    of_both = "book/parts, book/records.json, library versions changed"
    assert f"one: executed again, data set, {of_both}" in log and f"two: executed again, {of_both}" in log
    book.edit("two", 'name = "two"', 'name = "two"; seed = 3')
    assert changed() == {"two": {"parameters cell"}}
    book.edit("two", "import helper", "import helper as helper")
    assert changed() == {"two": {"code cells"}}
    _, log = book.build()
    assert book.runs() == ["two"] and "two: executed again, code cells, parameters cell changed" in log
    assert changed() == {}
    text = book.path("two").read_text()
    book.path("two").write_text(text.replace('"name": "python3"', '"name": "another"'))
    assert changed() == {"two": {"code cells"}}, "the kernel belongs to them"
    book.path("two").write_text(text)
    assert book.build()[0] == 0 and book.runs() == []


def keys_of(book, sources):
    """The present keys of a book's chapters, a dict name: key."""
    folders = dict.fromkeys(sources, book.root)
    chapters = {
        name: Chapter(f"book/{name}", book.path(name), book.kept("").parent, folders) for name in ("one", "two")
    }
    return {name: chapter.key("mnist-5k") for name, chapter in chapters.items()}


def test_at_most_one_kernel_per_core(tmp_path, monkeypatch):
    begin, end = "import time; begun = time.time()", 'open(f"{name}.times", "w").write(f"{begun} {time.time()}")'
    names = ("a", "b", "c")
    chapters = {name: [f"# {name}", f'name = "{name}"', begin, "time.sleep(0.3)", end] for name in names}
    book = Book(tmp_path, chapters)
    monkeypatch.setenv("LOKY_MAX_CPU_COUNT", "1")
    assert book.build()[0] == 0
    times = sorted([float(time) for time in path.read_text().split()] for path in tmp_path.glob("book/*.times"))
    assert len(times) == 3
    assert all(end < begin for (_, end), (begin, _) in pairwise(times)), times


PUBLISH = "from labcode import publish\npublish.file({name!r}, b'{content}')\nprint('published')"


def test_published_files_are_beside_the_pages_and_kept_with_the_execution(tmp_path):
    files = {"a.bin": "first", "folder/b.bin": "other"}
    cells = [PUBLISH.format(name=name, content=content) for name, content in files.items()]
    book = Book(tmp_path, {"tells": ["# Tells", 'name = "tells"', COUNT_RUNS, *cells], "two": TWO})
    published = [book.pages / "a.bin", book.pages / "folder" / "b.bin"]
    assert book.build()[0] == 0 and book.runs() == ["tells", "two"]
    assert [path.read_bytes() for path in published] == [b"first", b"other"]
    assert "published" in book.page("book/tells")

    shutil.rmtree(book.pages)
    assert book.build()[0] == 0 and book.runs() == [], "kept, as the outputs are"
    assert [path.read_bytes() for path in published] == [b"first", b"other"]

    book.edit("tells", "b'first'", "b'second'")
    assert book.build()[0] == 0 and book.runs() == ["tells"]
    assert [path.read_bytes() for path in published] == [b"second", b"other"]
    kept = list(book.kept("tells", ".published").iterdir())
    assert sorted(path.read_bytes() for path in kept) == [b"other", b"second"], "of the first execution nothing is left"

    for damage in (kept[0].unlink, functools.partial(kept[1].write_bytes, b"cut")):
        damage()
        assert book.build()[0] == 0 and book.runs() == ["tells"]
        assert [path.read_bytes() for path in published] == [b"second", b"other"]


def test_a_failed_chapter_publishes_nothing_and_two_may_not_publish_one_file(tmp_path):
    publish = PUBLISH.format(name="a.bin", content="x")
    book = Book(tmp_path, {"fails": ["# Fails", "seed = 0", publish, "seed / 0"], "two": TWO})
    assert book.build()[0] == 1 and not list(tmp_path.rglob("a.bin"))
    assert not book.kept("fails", ".published").exists()
    book.write("fails", ["# Fails no more", "seed = 0", publish])
    book.write("two", ["# Two", "seed = 0", publish])
    for attempt in ("first", "same again"):
        code, log = book.build()
        assert code == 1 and "book/fails and book/two both publish a.bin" in log, (attempt, log)


def test_data_set(tmp_path, monkeypatch):
    cells = ["# Data", 'dataset = "mnist-5k"', 'import os\nprint(f"on <{dataset}>", os.environ.get("MNIST_DIR"))']
    book = Book(tmp_path, {"data": cells, "two": TWO}, papermill_dataset="auto")
    del book.env["LABCODE_DATASET"]

    def has_banner():
        pages = [book.page(name) for name in ("intro", "book/data", "book/two")]
        return ["It is not the report on all of MNIST" in page for page in pages]

    code, log = book.build(LABCODE_DATASET="mnist")
    assert code == 1 and "train-images" in log, "asked for MNIST, and nothing can be downloaded"
    assert book.runs() == []

    code, log = book.build(MNIST_DIR="")
    assert code == 0 and "WARNING: This build uses mnist-5k" in log, "an empty MNIST_DIR is none"
    assert "on &lt;mnist-5k&gt;" in book.page("book/data")
    assert has_banner() == [True, True, True]
    assert book.runs() == ["two"]

    folder = make_mnist(tmp_path / "mnist", monkeypatch)
    code, log = book.build(MNIST_DIR=os.path.relpath(folder))
    assert code == 0 and "data: executed again, data set changed" in log
    assert "0 added, 3 changed" in log, "the banner leaves every page"
    assert f"on &lt;mnist&gt; {folder}" in re.sub(r"</?span[^>]*>", "", book.page("book/data")), "an absolute path"
    assert has_banner() == [False, False, False]
    assert book.runs() == [], "no data in its parameters"

    for nowhere in ({}, {"MNIST_DIR": ""}):
        code, log = book.build(**nowhere)
        assert code == 0 and "0 added, 0 changed, 0 removed" in log, "MNIST is gone, but nothing has to be executed"


def test_a_book_whose_chapters_have_no_data_asks_for_none(tmp_path):
    book = Book(tmp_path, {"two": TWO}, papermill_dataset="auto")
    del book.env["LABCODE_DATASET"]
    code, log = book.build()
    assert code == 0 and book.runs() == ["two"] and "This build uses mnist-5k" not in log, log


def make_mnist(folder, monkeypatch):
    """Make a folder with four files of IDX that hold one blank image or label each, and have these count as MNIST."""
    folder.mkdir()
    for file in data.FILES:
        image = struct.pack(">I3I", 0x803, 1, 28, 28) + bytes(28 * 28)
        content = image if "images" in file else struct.pack(">II", 0x801, 1) + bytes(1)
        (folder / file).write_bytes(content)
        monkeypatch.setitem(data.FILES, file, (hashlib.sha256(content).hexdigest(), 1))
    return folder


def test_wrong_mnist_dir_is_one_error_before_any_kernel_starts(tmp_path, monkeypatch):
    book = Book(
        tmp_path, {"data": ["# Data", 'name = "data"\ndataset = "mnist"', COUNT_RUNS]}, papermill_dataset="auto"
    )
    del book.env["LABCODE_DATASET"]
    whole = make_mnist(tmp_path / "mnist", monkeypatch)
    assert book.build(MNIST_DIR=str(whole))[0] == 0 and book.runs() == ["data"]

    wrong = {"without files": tmp_path / "book" / "train-images-idx3-ubyte"}
    labels = (whole / "t10k-labels-idx1-ubyte").read_bytes()
    for fault, content in {"an empty file": b"", "one byte altered": labels[:-1] + b"\5"}.items():
        wrong[fault] = shutil.copytree(whole, tmp_path / fault) / "t10k-labels-idx1-ubyte"
        wrong[fault].write_bytes(content)
    for attempt in ("nothing is stale", "a chapter is stale"):
        for file in wrong.values():
            code, log = book.build(MNIST_DIR=str(file.parent))
            assert code == 1 and book.runs() == [], (attempt, file)
            assert log.count(f"{file}: expected") == 1 and "chapters to execute failed" not in log, log
        book.edit("data", COUNT_RUNS, f"{COUNT_RUNS} 1")


def test_a_damaged_file_in_the_cache_is_one_error_before_any_kernel_starts(tmp_path, monkeypatch):
    book = Book(tmp_path, {"data": ["# Data", 'name = "data"\ndataset = "mnist"', COUNT_RUNS]})
    (tmp_path / "cache").mkdir()
    file = make_mnist(tmp_path / "cache" / "mnist", monkeypatch) / "t10k-labels-idx1-ubyte"
    file.write_bytes(b"")
    code, log = book.build(LABCODE_DATASET="auto")
    assert code == 1 and book.runs() == [] and "chapters to execute failed" not in log
    assert log.count(f"{file}: expected") == 1, log


@pytest.mark.parametrize("address", [None, "https://github.com/someone/report"])
def test_buttons_lead_to_the_repository_only_where_it_has_an_address(address, tmp_path):
    book = Book(tmp_path, {"two": TWO})
    ours = yaml.safe_load((EXTENSION.parents[1] / "_config.yml").read_text("utf-8"))
    config = {key: ours[key] for key in ("title", "only_build_toc_files", "execute", "html", "launch_buttons")}
    del config["html"]["favicon"]
    if address:
        config["repository"] = {"url": address, "branch": "main"}
        config["html"] |= {"use_repository_button": True, "use_edit_page_button": True}
        config["launch_buttons"]["binderhub_url"] = "https://mybinder.org"
    (tmp_path / "_config.yml").write_text(yaml.safe_dump(config))
    code, log = book.build()
    assert code == 0, log
    path = "book/two.ipynb"
    launch = f"https://mybinder.org/v2/gh/someone/report/main?urlpath=tree/{path}"
    found = re.findall(r'href="(https?://[^"]*)"', book.page("book/two").partition("<article")[0])
    assert found == ([launch, address, f"{address}/edit/main/{path}"] if address else [])


def figure_of(name):
    """A cell that shows a figure of this name."""
    metadata = {"labcode": {"name": f"fig-{name}", "caption": f"Of {name}.", "alt": "one black pixel"}}
    return f'display({{"image/png": "{PIXEL}"}}, raw=True, metadata={metadata})'


def test_where_no_page_changed_none_is_numbered_anew_and_a_later_figure_moves_the_numbers(tmp_path, monkeypatch):
    cells = {name: ["# Chapter", "seed = 0", figure_of(name), "pass"] for name in ("one", "two")}
    book, calls, number = Book(tmp_path, cells), [], TocTreeCollector.assign_figure_numbers
    monkeypatch.setattr(TocTreeCollector, "assign_figure_numbers", lambda *each: calls.append(each) or number(*each))
    assert book.build()[0] == 0 and calls and "Fig. 2" in book.page("book/two")
    calls.clear()
    assert book.build()[0] == 0 and not calls
    book.edit("one", "pass", figure_of("new"))
    assert book.build()[0] == 0 and calls and "Fig. 2" in book.page("book/one") and "Fig. 3" in book.page("book/two")
    toc = tmp_path / "_toc.yml"
    toc.write_text(toc.read_text().replace("- file: book/one\n", ""))
    assert book.build()[0] == 0 and "Fig. 1" in book.page("book/two")


def build_apart(book):
    """Build in a process of its own; what is printed. In one that has built before, Sphinx writes all pages anew."""
    with book.start() as build:
        printed, _ = build.communicate()
    assert build.returncode == 0
    return printed


def test_the_executed_notebook_that_a_page_offers_follows_its_prose_and_its_code(tmp_path):
    book = Book(tmp_path, {"one": ["# Before", "seed = 0", "print('before')"]})

    def offered():
        build_apart(book)
        notebook = nbformat.read(book.pages / "_sources" / "book" / "one.ipynb", as_version=4)
        return notebook.cells[0].source, notebook.cells[2].outputs[0].text

    assert offered() == offered() == ("# Before", "before\n")
    book.edit("one", "# Before", "# After")
    assert offered() == ("# After", "before\n")
    book.edit("one", "print('before')", "print('after')")
    assert offered() == ("# After", "after\n")


def test_what_all_pages_share_has_them_written_anew(tmp_path):
    (tmp_path / "static").mkdir()
    sheet = tmp_path / "static" / "own.css"
    sheet.write_text("p {}")
    cells = {name: [f"# The {name}", "seed = 0"] for name in ("first", "second")}
    book = Book(tmp_path, cells, html_static_path=["static"])
    build_apart(book)
    assert "no targets are out of date" in build_apart(book)
    sheet.write_text("p { color: red }")
    build_apart(book)
    assert (book.pages / "_static" / "own.css").read_text() == "p { color: red }"
    toc = tmp_path / "_toc.yml"
    toc.write_text(toc.read_text().replace("first", "x").replace("second", "first").replace("x", "second"))
    build_apart(book)
    for name in ("intro", "book/first", "book/second"):
        listed = re.search(r"<nav[^>]*bd-docs-nav.*?</nav>", book.page(name), re.S)[0]
        assert listed.index("The second") < listed.index("The first"), name
    assert "no targets are out of date" in build_apart(book)


def test_a_zip_is_written_where_none_is_whole_and_of_this_content(tmp_path):
    path, zipped = tmp_path / "a.json", tmp_path / "a.json.zip"

    def content():
        report_pages.write_zip(path)
        with zipfile.ZipFile(zipped) as archive:
            return archive.read("a.json")

    for text in (b"one" * 1000, b"two" * 1000):
        path.write_bytes(text)
        assert content() == text
        whole = zipped.read_bytes()
        for damaged in (b"", whole[:40] + b"?" + whole[41:], whole[:-9], whole.replace(b"a.json", b"b.json")):
            zipped.write_bytes(damaged)
            assert content() == text and zipped.read_bytes() == whole
    before = zipped.stat()
    report_pages.write_zip(path)
    assert zipped.stat().st_mtime_ns == before.st_mtime_ns, "nothing is written where it is there"

"""A Sphinx extension that executes the book's chapters with papermill, inside ``jupyter-book build``.

A chapter is a notebook with a cell tagged ``parameters``. Its execution is kept in ``_build/executed``, with the key of
everything that it depends on, and is repeated exactly when that key changes. The source notebook stays as it is: the
page is made from its present text and the outputs of the kept execution.

Configuration, under ``sphinx: config:`` in ``_config.yml``:

papermill_dataset   ``dataset``, where a chapter's parameters have it: ``mnist``, ``mnist-5k`` or ``auto`` (all of MNIST
                    where it can be had, else mnist-5k); the environment variable LABCODE_DATASET overrides it
papermill_timeout   the seconds that a cell may take, without those in which it waits for another process's training
papermill_sources   files and folders, relative to the source folder, whose content belongs to every chapter's key
"""

import contextlib
import functools
import json
import logging
import os
import re
import shutil
import signal
import sys
import threading
from hashlib import sha256
from pathlib import Path

import nbformat
from chapter import Chapter, digest, hash_sources, write, write_bytes
from execution import Execution, execute_all
from filelock import FileLock, Timeout
from sphinx.environment.collectors.toctree import TocTreeCollector
from sphinx.errors import ExtensionError, SphinxError
from sphinx.util import logging as sphinx_logging

from labcode import data

LOGGER = sphinx_logging.getLogger(__name__)
BANNER = "This copy was built on mnist-5k, 5,000 of MNIST's 70,000 digits. It is not the report on all of MNIST."
CROSS_PAGE_GLUE = re.compile(r"\{glue:?\w*\}`[^`\n]*::[^`\n]*`|\{glue:?\w*\}[^\n`]*\n:doc:[^\n]*")


def setup(app):
    """Connect to Sphinx's events, in the order in which a build meets them."""
    app.add_config_value("papermill_dataset", "auto", "", [str])
    app.add_config_value("papermill_timeout", 900, "", [int, float])
    app.add_config_value("papermill_sources", [], "", [list])
    sys.excepthook = tell_once
    if threading.current_thread() is threading.main_thread():  # else Python does not let it
        signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C: no kernel outlives the build
    ours(make_folders)(app)
    app.build = ours(app.build)  # what Sphinx writes itself
    build = Build(app)
    app.connect("config-inited", leave_execution_to_us)
    app.connect("config-inited", ours(build.begin))
    app.connect("env-get-outdated", ours(build.find_outdated))
    app.connect("env-before-read-docs", ours(build.execute))
    app.connect("source-read", build.put_outputs)
    app.connect("doctree-read", build.check_glue)
    app.connect("html-page-context", build.note_page)
    app.connect("html-page-context", build.put_banner)
    app.connect("build-finished", ours(build.write_beside_the_pages))
    app.connect("build-finished", ours(build.remember), priority=900)  # when all others have written, too
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": False}  # see ``Unwritten``


def ours(handler):
    """The function, whose trouble with files is told in one line instead of as a fault of the program."""

    @functools.wraps(handler)
    def handle(*arguments):
        try:
            return handler(*arguments)
        except OSError as error:
            what_to_do = "Make room, give the permission, or remove what stands in its place, and build again."
            message = f"{error}. {what_to_do}"
            raise ExtensionError(message) from error

    return handle


def tell_once(kind, error, traceback):
    """Print an exception as Python does, but not the one by which Jupyter Book ends where Sphinx has told an error."""
    if not isinstance(error.__cause__, SphinxError | OSError):
        sys.__excepthook__(kind, error, traceback)


def make_folders(app):
    """Make the folders that Sphinx makes next: where that cannot be, it writes a report of a bug of its own."""
    for folder in (app.outdir, app.doctreedir):
        os.makedirs(folder, exist_ok=True)


def leave_execution_to_us(app, config):
    """MyST-NB renders what it is handed; it must not execute anything itself."""
    config.nb_execution_mode = "off"


def leave_numbers(app):
    """Have Sphinx number no section and no figure anew, for which it reads the trees of all pages: none has changed."""
    for listener in list(app.events.listeners["env-get-updated"]):
        if isinstance(getattr(listener.handler, "__self__", None), TocTreeCollector):
            app.disconnect(listener.id)


def check_what_kernels_read(datasets):
    """Refuse faulty claims, records and images: one message here, and a traceback in each kernel."""
    from labcode import claims, records, speed  # here, for a build that executes nothing need not wait for them

    try:
        claims.load_claims()
        records.check()
        for path in (speed.BENCH, speed.CHOICE):
            speed.recorded(path)
        for name in datasets:
            if name == "mnist-5k" or not os.environ.get("MNIST_DIR"):  # those were verified when it was chosen
                data.verify(name)
    except (ValueError, records.RecordsError, data.DataError) as error:
        raise ExtensionError(str(error)) from error


class Build:
    """One build of the book: its chapters, its data set, what has to be executed and why."""

    def __init__(self, app):
        folder = Path(app.outdir).parent
        self.lock = FileLock(folder / "building.lock")
        self.executed = folder / "executed"  # the folder that keeps executed notebooks
        self.executing = folder / "executing"  # what belongs to executions in progress
        self.figures = folder / "jupyter_execute"  # MyST-NB's, for the images that it finds in outputs
        self.last_dataset = self.executed / "dataset"  # with which the last of them were executed
        self.pages = Path(app.outdir) / ".papermill_chapters.json"  # what the pages were made from, and what they are
        self.chapters, self.stale, self.dataset = {}, {}, None
        self.gone, self.anew = set(), False  # pages that left the book; whether all are written anew
        self.written = set()  # pages, in this build
        self.glue_faults, self.unwritten = GlueFaults(), Unwritten()
        for collects in (self.glue_faults, self.unwritten):
            logging.getLogger("sphinx").addHandler(collects)

    def begin(self, app, config):
        """Wait for another build in this folder, whose files this one would disturb."""
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            LOGGER.info("waiting for another build in %s", os.path.relpath(self.executed.parent))
            self.lock.acquire()

    def find_outdated(self, app, env, added, changed, removed):
        """Find the chapters to execute; return them and the pages that were made from another content or data set."""
        sources = {source: Path(app.srcdir) for source in app.config.papermill_sources}
        self.chapters, hashed = self.find_chapters(app, env, sources), hash_sources(sources)
        self.dataset = self.choose_dataset(os.environ.get("LABCODE_DATASET") or app.config.papermill_dataset)
        reasons = {docname: chapter.why_execute(self.dataset, hashed) for docname, chapter in self.chapters.items()}
        self.stale = {docname: reason for docname, reason in reasons.items() if reason}
        before = self.last_contents()
        self.gone, self.anew = removed, before is None
        if self.anew:
            return sorted(env.found_docs)
        contents = self.contents(env)
        return sorted({*self.stale, *(name for name in contents if contents[name] != before.get(name))})

    def last_contents(self):
        """What ``contents`` returned after the last build, of pages with another banner nothing.

        None where there was no build, or it did not come to its end, or a file of its pages is not as it left it.
        """
        try:
            note = json.loads(self.pages.read_text("utf-8"))
            files = {name: sha256(self.pages.parent.joinpath(name).read_bytes()).hexdigest() for name in note["files"]}
            if files != note["files"]:
                return None
            return dict(note["contents"]) if note["dataset"] == self.dataset else {}
        except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError, MemoryError):
            return None

    def files(self):
        """Digests of the pages, what they show and offer, and MyST-NB's copies: a dict path from the pages: digest."""
        folder = self.pages.parent
        offered = folder.glob("_sources/**/*.ipynb")
        paths = [path for path in (*folder.rglob("*.html"), *offered, *self.figure_files()) if path.is_file()]
        return {os.path.relpath(path, folder): sha256(path.read_bytes()).hexdigest() for path in sorted(paths)}

    def figure_files(self):
        """The figures beside the pages, and MyST-NB's own."""
        return [*self.pages.parent.glob("_images/*"), *self.figures.glob("*.*")]

    def drop_what_is_not_shown(self, env):
        """Remove the pages that left the book, and the figures that none shows any longer."""
        for docname in self.gone:
            for name in (f"{docname}.html", f"_sources/{docname}.ipynb", f"_sources/{docname}.ipynb.zip"):
                (self.pages.parent / name).unlink(missing_ok=True)
        shown = {name for _, name in env.images.values()}
        for path in self.figure_files():
            if path.is_file() and path.name not in shown:
                path.unlink()

    def find_chapters(self, app, env, sources):
        """The book's chapters, a dict docname: Chapter; one error names all that cannot be used."""
        paths = {docname: Path(env.doc2path(docname)) for docname in sorted(env.found_docs)}
        chapters, faults = {}, []
        for name in getattr(app.config, "external_site_map", ()):
            if (app.project.path2doc(name) or name) not in env.found_docs:
                what_to_do = "Put it there, give the permission to read it, or take it out of _toc.yml"
                faults.append(f"_toc.yml names {name}, of which there is no file that can be read. {what_to_do}.")
        for docname, path in paths.items():
            if path.suffix == ".ipynb":
                try:
                    chapters[docname] = Chapter(docname, path, self.executed, sources)
                except ExtensionError as error:
                    faults.append(str(error))
        if faults:
            raise ExtensionError("\n".join(faults))
        return chapters

    def choose_dataset(self, wanted):
        """Settle the data set before any kernel starts; download it only where something must be executed on it."""
        if wanted not in ("auto", *data.NAMES):
            expected = ", ".join(("auto", *data.NAMES))
            raise ExtensionError(f"LABCODE_DATASET or papermill_dataset is {wanted!r}; expected one of: {expected}.")
        if wanted == "mnist-5k":
            return wanted
        candidates = data.NAMES if wanted == "auto" else (wanted,)
        try:
            if data.at_hand("mnist"):
                if os.environ.get("MNIST_DIR"):
                    data.verify("mnist")  # also where nothing is stale
                return "mnist"
            if wanted == "auto" and self.last_dataset.exists() and self.last_dataset.read_bytes() == b"mnist-5k":
                LOGGER.info("\ndata set: mnist-5k, as in the last build; LABCODE_DATASET=mnist asks for all of MNIST")
                return "mnist-5k"
            chapters = [chapter for chapter in self.chapters.values() if "dataset" in chapter.parameters]
            for name in candidates:
                if not any(chapter.why_execute(name) for chapter in chapters):
                    return name
            data.fetch("mnist")
        except data.DataError as error:
            if wanted != "auto" or os.environ.get("MNIST_DIR"):
                raise ExtensionError(str(error)) from error
            message = "This build uses mnist-5k and is not the report on all of MNIST, which cannot be downloaded: %s. "
            LOGGER.warning(message + "Once it can, build again with LABCODE_DATASET=mnist.", error)
            return "mnist-5k"
        return "mnist"

    def execute(self, app, env, docnames):
        """Execute the stale chapters, side by side, and keep what they give; one error names all that failed."""
        shutil.rmtree(self.executing, ignore_errors=True)  # of a build that was killed
        if self.stale:
            self.execute_stale(app.config.papermill_timeout)
        self.pages.unlink(missing_ok=True)  # from now on pages are written
        if self.anew:  # what is there is not written again: figures by MyST-NB, the redirect by Jupyter Book
            shutil.rmtree(self.figures, ignore_errors=True)
            Path(app.outdir, "index.html").unlink(missing_ok=True)
        if not docnames:
            leave_numbers(app)

    def execute_stale(self, timeout):
        """Execute the stale chapters and keep what they give."""
        for docname, reason in self.stale.items():
            LOGGER.info("%s: %s", self.chapters[docname].name, reason)
        chapters = {docname: self.chapters[docname] for docname in self.stale}
        check_what_kernels_read({self.dataset for each in chapters.values() if "dataset" in each.parameters})
        try:
            executions = [Execution(each, self.executing / name, self.dataset) for name, each in chapters.items()]
            failures = execute_all(executions, timeout)
        finally:
            shutil.rmtree(self.executing, ignore_errors=True)
        if len(failures) < len(executions):
            write(self.last_dataset, self.dataset)
        if failures:
            heading = f"{len(failures)} of {len(chapters)} chapters to execute failed."
            raise ExtensionError("\n\n".join([heading, *failures]))

    def put_outputs(self, app, docname, source):
        """Hand MyST-NB the present text of a chapter with the outputs of its kept execution."""
        self.glue_faults.messages.clear()
        prose = source[0]
        if docname in self.chapters:
            notebook = self.chapters[docname].with_outputs(source[0])
            prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
            source[0] = nbformat.writes(notebook)
        if pasted := CROSS_PAGE_GLUE.search(prose):
            raise ExtensionError(
                f"{docname} pastes a value that another page glues: {pasted[0]!r}. It would go stale when that page "
                "alone is built again. Compute and glue the value on this page."
            )

    def check_glue(self, app, doctree):
        """Fail where a page pastes what it has not glued: MyST-NB only warns, and only the first time."""
        if self.glue_faults.messages:
            faults = "\n".join(f"- {message}" for message in self.glue_faults.messages)
            raise ExtensionError(f"{app.env.docname} pastes values that it does not glue, or not so:\n{faults}")

    def note_page(self, app, pagename, templatename, context, doctree):
        """Note that a page is written."""
        self.written.add(pagename)

    def put_banner(self, app, pagename, templatename, context, doctree):
        """Say on every page where the book was not built on all of MNIST."""
        if self.dataset == "mnist-5k":
            context["theme_announcement"] = BANNER

    def write_beside_the_pages(self, app, exception):
        """After a build that succeeded, write what chapters publish, and the executed notebooks."""
        if exception is None:
            for name, content in self.published().items():
                write_bytes(Path(app.outdir) / name, content)
            for docname in self.chapters.keys() & self.written:  # instead of the source, at the theme's button
                executed = nbformat.writes(self.chapters[docname].as_executed())
                write(Path(app.outdir) / "_sources" / f"{docname}.ipynb", executed)

    def remember(self, app, exception):
        """After a build that succeeded, note what its pages were made from; after any, let the next one begin."""
        try:
            if exception is None and self.dataset:
                self.unwritten.raise_any(self.pages.parent)
                self.drop_what_is_not_shown(app.env)
                note = {"dataset": self.dataset, "contents": self.contents(app.env), "files": self.files()}
                write(self.pages, json.dumps(note, indent=1))
        finally:
            self.lock.release()

    def published(self):
        """The files that the chapters publish, a dict name: content."""
        files, publishers = {}, {}
        for docname, chapter in self.chapters.items():
            for name, content in chapter.published.items():
                if name in files:
                    raise ExtensionError(f"{publishers[name]} and {docname} both publish {name}. Rename one of them.")
                files[name], publishers[name] = content, docname
        return files

    def contents(self, env):
        """A digest of all that each page is made from; Sphinx goes by the files' times, which can lie."""
        shared = shared_files(env)
        paths = {
            docname: [env.doc2path(docname), *sorted(Path(env.srcdir, name) for name in env.dependencies[docname])]
            for docname in sorted(env.found_docs)
        }
        for docname, chapter in self.chapters.items():
            paths[docname] += [chapter.kept_path] if chapter.kept else []
        files = {docname: [path for path in map(Path, paths[docname]) if path.is_file()] for docname in paths}
        return {docname: digest(shared, *(path.read_bytes() for path in files[docname])) for docname in files}


def shared_files(env):
    """A digest of what all pages share: the table of contents, references, static files and extensions."""
    own = [name for name in env.config.html_static_path if not Path(name).is_absolute()]  # others are themes'
    named = [env.config.external_toc_path, *getattr(env.config, "bibtex_bibfiles", ())]  # a book may have none
    paths = [Path(env.srcdir, name) for name in named]
    for folder in (*(Path(env.srcdir, name) for name in own), Path(__file__).parent):
        paths += sorted(path for path in folder.rglob("*") if path.suffix != ".pyc")
    files = [path for path in paths if path.is_file()]
    return digest(*(part for path in files for part in (path.name.encode(), path.read_bytes()))).encode()


class GlueFaults(logging.Handler):
    """Collects MyST-NB's warnings about pasted values."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        """Called by logging for each of Sphinx's records."""
        if getattr(record, "type", None) == "mystnb" and str(getattr(record, "subtype", "")).startswith("glue"):
            self.messages.append(record.getMessage())


class Unwritten(logging.Handler):
    """Collects the errors of pages and figures that cannot be written, of which Sphinx only warns.

    A process that writes some of the pages of a build, as Sphinx can have several, would keep them to itself.
    """

    def __init__(self):
        super().__init__(logging.WARNING)
        self.errors, self.paths = [], []

    def emit(self, record):
        """Called by logging for each of Sphinx's warnings."""
        for error in record.args or ():
            if isinstance(error, OSError) and error.errno:  # those of downloads have none
                self.errors.append(error)
                if not isinstance(error, PermissionError):  # then the old one is whole
                    self.paths += [record.args[0], error.filename, error.filename2]

    def raise_any(self, pages):
        """Raise the first error, if there is one; of what could not be written in the folder, no half is left."""
        for path in {Path(path) for path in self.paths if isinstance(path, str)}:
            if path.is_relative_to(pages) and path.is_file():
                with contextlib.suppress(OSError):
                    path.unlink()
        if self.errors:
            raise self.errors[0]

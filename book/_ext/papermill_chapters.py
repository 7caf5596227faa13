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

import json
import logging
import os
import re
import tempfile
from pathlib import Path

import nbformat
from chapter import Chapter, write, write_bytes
from execution import Execution, execute_all
from sphinx.errors import ExtensionError
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
    build = Build(app)
    app.connect("config-inited", leave_execution_to_us)
    app.connect("env-get-outdated", build.find_outdated)
    app.connect("env-before-read-docs", build.execute)
    app.connect("source-read", build.put_outputs)
    app.connect("doctree-read", build.check_glue)
    app.connect("html-page-context", build.put_banner)
    app.connect("build-finished", build.remember)
    return {"version": "1.0", "parallel_read_safe": True, "parallel_write_safe": True}


def leave_execution_to_us(app, config):
    """MyST-NB renders what it is handed; it must not execute anything itself."""
    config.nb_execution_mode = "off"


class Build:
    """One build of the book: its chapters, its data set, what has to be executed and why."""

    def __init__(self, app):
        self.executed = Path(app.outdir).parent / "executed"  # the folder that keeps executed notebooks
        self.last_dataset = self.executed / "dataset"  # with which the last of them were executed
        self.pages = Path(app.outdir) / ".papermill_chapters.json"  # from which executions the pages there were made
        self.chapters, self.stale, self.dataset = {}, {}, None
        self.glue_faults = GlueFaults()
        logging.getLogger("sphinx").addHandler(self.glue_faults)

    def find_outdated(self, app, env, added, changed, removed):
        """Find the chapters to execute; return them and the pages that were made from another execution or data set."""
        sources = {source: Path(app.srcdir) for source in app.config.papermill_sources}
        paths = {docname: Path(env.doc2path(docname)) for docname in sorted(env.found_docs)}
        notebooks = {docname: path for docname, path in paths.items() if path.suffix == ".ipynb"}
        self.chapters = {name: Chapter(name, path, self.executed, sources) for name, path in notebooks.items()}
        self.dataset = self.choose_dataset(os.environ.get("LABCODE_DATASET") or app.config.papermill_dataset)
        reasons = {docname: chapter.why_execute(self.dataset) for docname, chapter in self.chapters.items()}
        self.stale = {docname: reason for docname, reason in reasons.items() if reason}
        pages = json.loads(self.pages.read_text("utf-8")) if self.pages.exists() else {}
        if pages.get("dataset") != self.dataset:
            return sorted(env.found_docs)  # the banner is on every page
        return [name for name in notebooks if name in self.stale or self.dates()[name] != pages["dates"].get(name)]

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
                    data.verify("mnist")  # now, once: a wrong file is one message here and a traceback in each kernel
                return "mnist"
            if wanted == "auto" and self.last_dataset.exists() and self.last_dataset.read_text("utf-8") == "mnist-5k":
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
        if not self.stale:
            return
        for docname, reason in self.stale.items():
            LOGGER.info("%s: %s", self.chapters[docname].name, reason)
        with tempfile.TemporaryDirectory() as scratch:
            chapters = [self.chapters[docname] for docname in self.stale]
            folders = [Path(scratch, str(number)) for number in range(len(chapters))]
            executions = [Execution(*each, self.dataset) for each in zip(chapters, folders, strict=True)]
            failures = execute_all(executions, app.config.papermill_timeout)
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

    def put_banner(self, app, pagename, templatename, context, doctree):
        """Say on every page where the book was not built on all of MNIST."""
        if self.dataset == "mnist-5k":
            context["theme_announcement"] = BANNER

    def remember(self, app, exception):
        """After a build that succeeded, write the files that chapters publish; note what its pages were made from."""
        if exception is None and self.dataset:
            for name, content in self.published().items():
                write_bytes(Path(app.outdir) / name, content)
            for docname, chapter in self.chapters.items():  # instead of the source, at the theme's button
                write(Path(app.outdir) / "_sources" / f"{docname}.ipynb", nbformat.writes(chapter.as_executed()))
            write(self.pages, json.dumps({"dataset": self.dataset, "dates": self.dates()}, indent=1))

    def published(self):
        """The files that the chapters publish, a dict name: content."""
        files, publishers = {}, {}
        for docname, chapter in self.chapters.items():
            for name, content in chapter.published.items():
                if name in files:
                    raise ExtensionError(f"{publishers[name]} and {docname} both publish {name}. Rename one of them.")
                files[name], publishers[name] = content, docname
        return files

    def dates(self):
        """When the kept execution of each chapter was made."""
        return {docname: chapter.record and chapter.record["date"] for docname, chapter in self.chapters.items()}


class GlueFaults(logging.Handler):
    """Collects MyST-NB's warnings about pasted values."""

    def __init__(self):
        super().__init__()
        self.messages = []

    def emit(self, record):
        """Called by logging for each of Sphinx's records."""
        if getattr(record, "type", None) == "mystnb" and str(getattr(record, "subtype", "")).startswith("glue"):
            self.messages.append(record.getMessage())

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

import ast
import asyncio
import hashlib
import json
import logging
import os
import re
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from copy import deepcopy
from pathlib import Path
from types import SimpleNamespace

import nbformat
from sphinx.errors import ExtensionError
from sphinx.util import logging as sphinx_logging

from labcode import data, provenance

LOGGER = sphinx_logging.getLogger(__name__)
RECORD = "papermill_chapters"  # where an executed notebook's metadata has its key and provenance
WORDS = {"mnist": "MNIST, 60,000 + 10,000 images", "mnist-5k": "mnist-5k, 4,000 + 1,000 of MNIST's digits"}
BANNER = "This copy was built on mnist-5k, 5,000 of MNIST's 70,000 digits. It is not the report on all of MNIST."
CROSS_PAGE_GLUE = re.compile(r"\{glue:?\w*\}`[^`\n]*::[^`\n]*`|\{glue:?\w*\}[^\n`]*\n:doc:[^\n]*")
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
TICK = 0.2  # seconds between two looks at the chapters in progress


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
        self.pages = Path(app.outdir) / f".{RECORD}.json"  # from which executions the pages there were made
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


class Chapter:
    """A notebook of the book and the execution kept for it.

    Args:
        docname: Sphinx's name for the page.
        path: the source notebook.
        executed: the folder of executed notebooks.
        sources: what belongs to the key beside the notebook, a dict name: the folder it is relative to.
    """

    def __init__(self, docname, path, executed, sources):
        self.name, self.path, self.sources = docname.rsplit("/", 1)[-1], path, sources
        self.kept_path, self.failed_path = executed / f"{docname}.ipynb", executed / f"{docname}.failed.ipynb"
        self.published_path = executed / f"{docname}.published"
        try:
            self.notebook = nbformat.read(path, as_version=4)
            self.parameters_cell = next(cell for cell in code_cells(self.notebook) if has_tag(cell, "parameters"))
            self.parameters = literals(self.parameters_cell.source)
        except StopIteration:
            raise ExtensionError(f"{path} has no code cell tagged `parameters`. Tag the cell that sets them.") from None
        except (ValueError, SyntaxError) as error:
            raise ExtensionError(f"{path}: {error}. Expected a notebook whose parameters are literals.") from error
        try:
            self.kept = nbformat.read(self.kept_path, as_version=4)
            self.record = self.kept.metadata[RECORD]
            self.published = self.read_published()
        except (OSError, ValueError, KeyError):  # never executed here, or damaged
            self.kept = self.record = self.published = None

    @property
    def kernel_name(self):
        """The kernel that the notebook asks for."""
        return self.notebook.metadata.get("kernelspec", {}).get("name", "python3")

    def key(self, dataset):
        """All that the outputs depend on, a dict component: value. Prose, tags and ids are no part of it."""
        cells = [cell.source if cell is not self.parameters_cell else None for cell in code_cells(self.notebook)]
        return {
            "code cells": digest(json.dumps([self.kernel_name, cells]).encode()),
            "parameters cell": digest(self.parameters_cell.source.encode()),
            "data set": f"{dataset} {data.DIGESTS[dataset]}" if "dataset" in self.parameters else "none",
            **{name: hash_source(folder, name) for name, folder in self.sources.items()},
            "library versions": ", ".join(f"{name} {version}" for name, version in provenance.versions().items()),
        }

    def why_execute(self, dataset):
        """Why the kept execution is not the one wanted, in words; empty where it is."""
        if self.kept is None:
            return "executed for the first time"
        new, old = self.key(dataset), self.record["key"]
        changed = [name for name in {**new, **old} if new.get(name) != old.get(name)]
        return f"executed again, {', '.join(changed)} changed" if changed else ""

    def keep(self, notebook, published, dataset, seconds):
        """Keep an execution and what it published, with its key and provenance.

        A published file is kept under its digest; it counts from the moment when the notebook that names it is written.
        """
        self.kept, self.published = notebook, published
        self.record = notebook.metadata[RECORD] = {
            "key": self.key(dataset),
            "seconds": seconds,
            "dataset": dataset if "dataset" in self.parameters else None,
            "seed": self.parameters.get("seed"),
            "published": {name: digest(content) for name, content in published.items()},
            **provenance.here(),
        }
        for name, content in published.items():
            write_bytes(self.published_path / self.record["published"][name], content)
        write(self.kept_path, nbformat.writes(notebook))
        for path in self.published_path.glob("*"):
            if path.name not in self.record["published"].values():
                path.unlink(missing_ok=True)  # another build in this folder may do the same
        self.failed_path.unlink(missing_ok=True)

    def read_published(self):
        """The files that the kept execution published, a dict name: content."""
        named = self.record["published"]
        published = {name: (self.published_path / key).read_bytes() for name, key in named.items()}
        if {name: digest(content) for name, content in published.items()} != named:
            raise ValueError(f"{self.published_path} is damaged")
        return published

    def with_outputs(self, text):
        """The source notebook ``text`` with the kept outputs, the data set executed with, captions, and provenance."""
        notebook = nbformat.v4.upgrade(nbformat.reads(text, as_version=4))
        kept = code_cells(self.kept)
        if [cell.source for cell in code_cells(notebook)] != [cell.source for cell in kept]:
            raise ExtensionError(f"{self.path} was edited during the build. Build again.")
        outputs, cells = iter(kept), []
        for cell in notebook.cells:
            if is_own_code(cell):
                cells += with_figures(cell, next(outputs))
            elif cell.cell_type != "code":
                cells.append(cell)
        shown = next(cell for cell in cells if has_tag(cell, "parameters"))
        if self.parameters.get("dataset") != self.record["dataset"]:
            line = f'dataset = "{self.record["dataset"]}"  # with which this page was executed'
            shown.source = re.sub(r"^dataset\b.*", line, shown.source, flags=re.M)
        provenance = f"```{{container}} provenance\n{self.provenance()}\n```"
        notebook.cells = [*cells, nbformat.v4.new_markdown_cell(provenance)]
        return notebook

    def as_executed(self):
        """The source notebook with the kept outputs, and with the parameters that were set: to read or to run."""
        notebook, outputs = deepcopy(self.notebook), iter(code_cells(self.kept))
        for cell in code_cells(notebook):
            executed = next(outputs)
            cell.outputs, cell.execution_count = executed.outputs, executed.execution_count
        injected = [cell for cell in self.kept.cells if has_tag(cell, "injected-parameters")]
        after_parameters = notebook.cells.index(next(c for c in notebook.cells if has_tag(c, "parameters"))) + 1
        notebook.cells[after_parameters:after_parameters] = injected
        return notebook

    def provenance(self):
        """What the kept execution was computed with, in one line."""
        record = self.record
        parts = [WORDS[record["dataset"]]] if record["dataset"] else []
        parts += [f"seed {record['seed']}"] if record["seed"] is not None else []
        parts += [", ".join(f"{name} {version}" for name, version in record["versions"].items() if version != "none")]
        parts += [record["processor"], f"{record['date'][:16].replace('T', ' ')} UTC", f"{record['seconds']:.0f} s"]
        return f"Computed with: {' · '.join(parts)}"


def with_figures(cell, kept):
    """The cells that show ``cell`` with the outputs of ``kept``: itself, and one more for each further figure.

    MyST-NB takes caption, name and alternative text from a cell's metadata, so two figures cannot share a cell. An
    output brings them along in its own: ``display(figure, metadata={"labcode": {"name", "caption", "alt"}})``.
    """
    groups = [[]]  # outputs that can share a cell
    for output in kept.outputs:
        if "caption" in output.get("metadata", {}).get("labcode", {}):
            groups += [[output], []]
        else:
            groups[-1].append(output)
    cells = []
    for number, group in enumerate([group for group in groups if group] or [[]]):
        shown = deepcopy(cell)
        shown.outputs, shown.execution_count = group, kept.execution_count
        if number:
            shown.id = f"{cell.id}-{number}"
            shown.metadata["tags"] = [*cell.metadata.get("tags", []), "remove-input"]
        figure = group[0].get("metadata", {}).get("labcode", {}) if group else {}
        if "caption" in figure:
            options = {"caption": figure["caption"], "name": figure["name"]}
            own = cell.metadata.get("mystnb", {})
            shown.metadata["mystnb"] = {**own, "figure": options, "image": {"alt": figure["alt"]}}
        cells.append(shown)
    return cells


class Execution:
    """A chapter being executed in a worker thread, while the main thread follows its progress and keeps its time.

    Args:
        chapter: the Chapter.
        folder: made here, for its progress file and for what it publishes.
        dataset: what papermill sets ``dataset`` to.
    """

    def __init__(self, chapter, folder, dataset):
        self.chapter, self.dataset = chapter, dataset
        self.progress, self.publish = folder / "progress", folder / "published"
        self.publish.mkdir(parents=True)
        self.begun = self.loop = self.kernel = self.notebook = self.cell = self.stopped_because = None
        self.read = 0  # bytes of the progress file
        self.waiting_since = None  # where the progress file's last event lies, if that says `waiting`

    def run(self):
        """Execute the chapter and return the executed notebook. Runs in a worker thread."""
        import papermill
        from jupyter_client import AsyncKernelManager
        from jupyter_core.utils import ensure_event_loop, run_sync

        name, self.begun, self.loop = self.chapter.kernel_name, time.monotonic(), ensure_event_loop()
        self.kernel = AsyncKernelManager(kernel_name=name)
        # Kernels that start at the same moment must not share IPython's history file.
        arguments = ["--HistoryManager.hist_file=:memory:", "--log-level=ERROR"]
        try:
            folder = self.chapter.path.parent
            run_sync(self.kernel.start_kernel)(cwd=folder, env=self.environment(), extra_arguments=arguments)
            notebook = papermill.execute_notebook(
                self.chapter.notebook,
                None,
                parameters={"dataset": self.dataset} if "dataset" in self.chapter.parameters else {},
                kernel_name=name,
                language="python",
                progress_bar=False,
                start_timeout=120,
                # The rest goes to nbclient. Tags are no part of the key, so they must not decide what is executed.
                km=self.kernel,
                iopub_timeout=60,
                skip_cells_with_tag="",
                on_notebook_start=self.note_start,
                on_cell_execute=self.note_cell,
            )
        finally:
            run_sync(self.kernel.shutdown_kernel)(now=True)
        if any(output.output_type == "error" for cell in code_cells(notebook) for output in cell.outputs):
            raise RuntimeError("SystemExit: this cell ended the chapter, which papermill lets pass. Remove the exit.")
        return notebook

    def environment(self):
        """The kernel's environment. Its working folder is the notebook's, not that of the build."""
        paths = {name: os.environ[name] for name in ("MNIST_DIR", "LABCODE_CACHE") if os.environ.get(name)}
        absolute = {name: os.path.abspath(path) for name, path in paths.items()}
        ours = {"LABCODE_PROGRESS": str(self.progress), "LABCODE_PUBLISH": str(self.publish)}
        return {**os.environ, **absolute, **ours}

    def published(self):
        """The files that the chapter has published, a dict name: content."""
        paths = sorted(path for path in self.publish.rglob("*") if path.is_file())
        return {path.relative_to(self.publish).as_posix(): path.read_bytes() for path in paths}

    def note_start(self, notebook):
        """Called by nbclient: keep hold of the notebook that fills with outputs."""
        self.notebook = notebook

    def note_cell(self, cell, cell_index):
        """Called by nbclient before it executes a cell."""
        if self.stopped_because:
            raise RuntimeError(self.stopped_because)
        number = sum(map(is_own_code, self.notebook.cells[: cell_index + 1]))
        position = self.progress.stat().st_size if self.progress.exists() else 0
        self.cell = SimpleNamespace(number=number, source=cell.source, position=position, seconds=0, shown=False)

    def stop(self, reason):
        """Kill the kernel; ``run`` then fails."""
        self.stopped_because = reason
        if self.kernel:
            asyncio.run_coroutine_threadsafe(self.kernel.shutdown_kernel(now=True), self.loop)

    def follow(self, seconds, timeout):
        """Show what is new after ``seconds`` have passed, and stop a cell that has had its time."""
        cell = self.cell
        if cell is None or self.stopped_because:
            return
        texts = self.new_events()
        if self.waiting_since is None or self.waiting_since < cell.position:
            cell.seconds += seconds
        if not texts and not cell.shown and cell.seconds > 1:
            texts = [cell.source.strip().split("\n")[0][:80]]
        if texts:
            cell.shown = True
            LOGGER.info("[%s %d/%d] %s", self.chapter.name, cell.number, len(code_cells(self.notebook)), texts[-1])
        if cell.seconds > timeout:
            self.stop(f"timeout: the cell took longer than papermill_timeout, {timeout} seconds")

    def new_events(self):
        """Read what was added to the progress file; return the texts."""
        texts = []
        if self.progress.exists():
            added = self.progress.read_bytes()[self.read :]
            for line in added[: added.rfind(b"\n") + 1].splitlines(keepends=True):  # a half-written line: next time
                event = json.loads(line)
                self.waiting_since = self.read if event["waiting"] else None
                self.read += len(line)
                texts.append(event["text"])
        return texts

    def failure(self, error):
        """Keep the partly executed notebook; return what failed, where and why."""
        path, kept_path = os.path.relpath(self.chapter.path), os.path.relpath(self.chapter.failed_path)
        if self.cell is None:
            return f"{path} was not executed: {self.stopped_because or f'{type(error).__name__}: {error}'}"
        write(self.chapter.failed_path, nbformat.writes(without_papermill(self.notebook)))
        lines = self.cell.source.strip().split("\n")
        source = "\n".join(f"    {line}" for line in [*lines[:5], *["..."] * (len(lines) > 5)])
        reason = self.stopped_because or f"{type(error).__name__}: {error}"
        if getattr(error, "traceback", None):
            reason = ANSI.sub("", "\n".join(error.traceback))
        return (
            f"{path}: code cell {self.cell.number} of {len(code_cells(self.notebook))} failed (counted from 1, without "
            f"the cell that papermill injects; a traceback's `In [n]` counts that too):\n{source}\n{reason}\n"
            f"The partly executed notebook is kept: {kept_path}"
        )


def execute_all(executions, timeout):
    """Execute, at most one kernel per core at a time; return the failures in words.

    After a failure no further chapter is started; those in progress are let finish and kept.
    """
    from joblib import cpu_count

    for name in ("papermill", "asyncio", "traitlets"):  # they would repeat, less clearly, what a failure says
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    failures, last = [], time.monotonic()
    with ThreadPoolExecutor(min(len(executions), cpu_count())) as pool:
        futures = {pool.submit(execution.run): execution for execution in executions}
        unfinished = set(futures)
        try:
            while unfinished:
                done, unfinished = wait(unfinished, TICK, FIRST_COMPLETED)
                passed, last = time.monotonic() - last, time.monotonic()
                for future in [*done, *unfinished]:
                    futures[future].follow(passed, timeout)
                failures += filter(None, [finish(futures[future], future) for future in done])
                if failures:
                    unfinished -= {future for future in unfinished if future.cancel()}
        except BaseException:  # Ctrl-C above all: no kernel may outlive the build
            pool.shutdown(wait=False, cancel_futures=True)
            for execution in executions:
                execution.stop("interrupted")
            raise
    return failures


def finish(execution, future):
    """Keep what an execution gave and say so; return the failure in words, if it failed."""
    name, seconds = execution.chapter.name, time.monotonic() - execution.begun
    if future.exception():
        LOGGER.info("[%s] failed after %.0f s", name, seconds)
        return execution.failure(future.exception())
    notebook = without_papermill(future.result())
    execution.chapter.keep(notebook, execution.published(), execution.dataset, seconds)
    LOGGER.info("[%s] done in %.0f s", name, seconds)
    return None


def without_papermill(notebook):
    """The notebook without papermill's metadata, which call a cell completed even where its kernel has died."""
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
    return notebook


def code_cells(notebook):
    """The notebook's own code cells."""
    return [cell for cell in notebook.cells if is_own_code(cell)]


def is_own_code(cell):
    """Whether a cell is a code cell, and not the one that papermill injects."""
    return cell.cell_type == "code" and not has_tag(cell, "injected-parameters")


def has_tag(cell, tag):
    """Whether a cell has a tag."""
    return tag in cell.metadata.get("tags", [])


def literals(source):
    """The values that a parameters cell assigns, a dict name: value."""
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign)]
    pairs = [(target, node.value) for node in nodes for target in getattr(node, "targets", None) or [node.target]]
    return {target.id: ast.literal_eval(value) for target, value in pairs if isinstance(target, ast.Name)}


def hash_source(folder, source):
    """A digest of a file, or of all sources and data in a folder; ``none`` where there is no such file."""
    path = folder / source
    if not path.exists():
        return "none"
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    files = [file for file in files if file.suffix in (".py", ".toml", ".json") and file.is_file()]  # no backup
    return digest(*(part for file in files for part in (str(file.relative_to(folder)).encode(), file.read_bytes())))


def digest(*parts):
    """The SHA-256 of some bytes, each part told from the next."""
    return hashlib.sha256(b"".join(hashlib.sha256(part).digest() for part in parts)).hexdigest()


def write(path, text):
    """Write a text file so that nobody ever sees half of it."""
    write_bytes(path, text.encode("utf-8"))


def write_bytes(path, content):
    """Write a file so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(f".{path.name}.{os.getpid()}")
    scratch.write_bytes(content)
    os.replace(scratch, path)

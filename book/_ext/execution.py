"""Executes chapters with papermill, side by side, and keeps the time of their cells."""

import asyncio
import contextlib
import json
import logging
import os
import re
import subprocess
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from types import SimpleNamespace

import nbformat
from chapter import code_cells, is_own_code, write
from sphinx.util import logging as sphinx_logging

from labcode import publish

LOGGER = sphinx_logging.getLogger(__name__)
ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
LONGEST_SOCKET = 100  # bytes of a name, which are 103 at most (macOS), the number at its end included
GUARD = """
read group; read _  # nothing more is ever written: it reads the end
kill -s KILL -- "-$group"
for round in 1 2 3 4 5 6 7 8 9; do  # what is found may have started more meanwhile
  found=$(grep -lszxF -e "LABCODE_KERNEL=${0##*/}" /proc/[0-9]*/environ)
  for each in $found; do each=${each#/proc/}; kill -s KILL "${each%/environ}"; done
  [ "$found" ] || break
done
rm -rf -- "$0"
"""
TICK = 0.2  # seconds between two looks at the chapters in progress


class Execution:
    """A chapter being executed in a worker thread, while the main thread follows its progress and keeps its time.

    Args:
        chapter: the Chapter.
        folder: made here, for its progress file and for what it publishes.
        dataset: what papermill sets ``dataset`` to.
    """

    def __init__(self, chapter, folder, dataset):
        self.chapter, self.dataset, self.key = chapter, dataset, chapter.key(dataset)
        self.progress, self.publish = folder / "progress", folder / "published"
        self.connection = folder / "kernel.json"
        self.publish.mkdir(parents=True)
        self.begun = self.loop = self.kernel = self.notebook = self.cell = self.stopped_because = None
        self.read = 0  # bytes of the progress file
        self.waiting_since = None  # where the progress file's last event lies, if that says `waiting`

    def run(self):
        """Execute the chapter and return the executed notebook. Runs in a worker thread.

        The kernel's temporary files go with it: it is killed in the end, and TensorFlow leaves some.
        """
        import papermill
        from bounded_output import ENGINE
        from jupyter_core.utils import run_sync

        self.begun = time.monotonic()
        with guarded_folder() as (scratch, guard):
            try:
                self.start_kernel(scratch, guard)
                notebook = papermill.execute_notebook(
                    self.chapter.notebook,
                    None,
                    parameters={"dataset": self.dataset} if "dataset" in self.chapter.parameters else {},
                    engine_name=ENGINE,
                    kernel_name=self.chapter.kernel_name,
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
                if self.kernel:
                    run_sync(self.kernel.shutdown_kernel)(now=True)
        if any(output.output_type == "error" for cell in code_cells(notebook) for output in cell.outputs):
            raise RuntimeError("SystemExit: this cell ended the chapter, which papermill lets pass. Remove the exit.")
        return notebook

    def start_kernel(self, scratch, guard):
        """Start the kernel, with a folder for temporary files; tell the folder's guard the kernel's group."""
        from jupyter_client import AsyncKernelManager
        from jupyter_core.utils import ensure_event_loop, run_sync

        self.loop, place = ensure_event_loop(), {"transport": "ipc", "ip": sockets_in(scratch)}
        self.kernel = AsyncKernelManager(
            kernel_name=self.chapter.kernel_name, connection_file=str(self.connection), **place
        )
        # Kernels that start at the same moment must not share IPython's history file.
        arguments = ["--HistoryManager.hist_file=:memory:", "--log-level=ERROR"]
        folder = self.chapter.path.parent
        run_sync(self.kernel.start_kernel)(cwd=folder, env=self.environment(scratch), extra_arguments=arguments)
        print(self.kernel.provisioner.pgid, file=guard.stdin, flush=True)

    def environment(self, scratch):
        """The kernel's environment. Its working folder is the notebook's, not that of the build."""
        paths = {name: os.environ[name] for name in ("MNIST_DIR", "LABCODE_CACHE") if os.environ.get(name)}
        absolute = {name: os.path.abspath(path) for name, path in paths.items()}
        ours = {"LABCODE_PROGRESS": str(self.progress), "LABCODE_PUBLISH": str(self.publish), "TMPDIR": scratch}
        return {**os.environ, **absolute, **ours, "LABCODE_KERNEL": os.path.basename(scratch)}  # for the guard

    def published(self):
        """The files that the chapter has published, a dict name: content; ValueError where one has another's name."""
        paths = sorted(path for path in self.publish.rglob("*") if path.is_file() and not path.is_symlink())
        return {str(publish.checked(path.relative_to(self.publish).as_posix())): path.read_bytes() for path in paths}

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
                with contextlib.suppress(ValueError, TypeError, LookupError):  # half a line, where the disk was full
                    event = json.loads(line)
                    self.waiting_since = self.read if event["waiting"] else None
                    texts.append(event["text"])
                self.read += len(line)
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


@contextlib.contextmanager
def guarded_folder():
    """A folder for a kernel's temporary files, and the process that guards it, which is to be told the kernel's group.

    The guard outlives this process: when this one ends, however, or leaves the folder, it ends the kernel's group and
    removes the folder. A kernel ends by itself then, but not what its cells have started. What left the group is found,
    on Linux, by the folder's name in its environment.
    """
    with tempfile.TemporaryDirectory(prefix="labcode-", ignore_cleanup_errors=True) as folder:
        silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        command = ["/bin/sh", "-c", GUARD, folder]
        with subprocess.Popen(command, stdin=subprocess.PIPE, **silent, text=True, start_new_session=True) as guard:
            yield folder, guard


def sockets_in(folder):
    """The beginning of the names of a kernel's sockets: of ports another process may take one before the kernel does.

    Raises:
        OSError: the folder's name is too long.
    """
    path = os.path.join(folder, "socket")
    if len(os.fsencode(path)) > LONGEST_SOCKET:
        folder = os.path.dirname(folder)
        expected = LONGEST_SOCKET - (len(os.fsencode(path)) - len(os.fsencode(folder)))
        raise OSError(
            f"the folder for temporary files, {folder}: expected a name of at most {expected} bytes, found "
            f"{len(os.fsencode(folder))}; kernels have their sockets there. Set TMPDIR to another folder"
        )
    return path


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
            for future in futures:
                if not future.done():
                    futures[future].stop("interrupted")
            raise
    return failures


def finish(execution, future):
    """Keep what an execution gave and say so; return the failure in words, if it failed."""
    name, seconds = execution.chapter.name, time.monotonic() - execution.begun
    if future.exception():
        LOGGER.info("[%s] failed after %.0f s", name, seconds)
        return execution.failure(future.exception())
    changed = execution.chapter.changed_since(execution.key, execution.dataset)
    if not execution.chapter.path.exists():
        changed.append("this notebook itself")
    if changed:
        return (
            f"{os.path.relpath(execution.chapter.path)}: {', '.join(changed)} changed while it was executed, so that "
            "its outputs may be of either state. Build again; if one of its cells did that, have it write elsewhere."
        )
    notebook = without_papermill(future.result())
    try:
        execution.chapter.keep(notebook, execution.published(), execution.key, execution.dataset, seconds)
    except ValueError as error:  # also of text that UTF-8 cannot write
        return f"{os.path.relpath(execution.chapter.path)}: its outputs, or what it publishes, cannot be kept: {error}"
    LOGGER.info("[%s] done in %.0f s", name, seconds)
    return None


def without_papermill(notebook):
    """The notebook without papermill's metadata, which call a cell completed even where its kernel has died."""
    for part in (notebook, *notebook.cells):
        part.metadata.pop("papermill", None)
    return notebook

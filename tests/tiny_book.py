"""Tiny books that tests build."""

import contextlib
import functools
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import jinja2
import nbformat
import psutil
import yaml
from click.testing import CliRunner
from jupyter_book.cli.main import main as jupyter_book
from sphinx import jinja2glue

EXTENSION = Path(__file__).parents[1] / "book" / "_ext"
NO_NETWORK = dict.fromkeys(["http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"], "http://127.0.0.1:9")
COMMAND = str(Path(sys.executable).with_name("jupyter-book"))
PATIENCE = 200  # seconds until a build that should have said something, or ended, counts as hanging
PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAQAAAC1HAwCAAAAC0lEQVR42mNkYAAAAAYAAjCB0C8AAAAASUVORK5CYII="
COUNT_RUNS = 'open("runs.txt", "a").write(f"{name}\\n");'


class Templates(jinja2.BytecodeCache):
    """The theme's templates, compiled once for all builds of a process: that takes longer than to make the pages."""

    def __init__(self):
        self.kept = {}

    def load_bytecode(self, bucket):
        """Called by Jinja before it compiles a template."""
        if bucket.key in self.kept:
            bucket.bytecode_from_string(self.kept[bucket.key])

    def dump_bytecode(self, bucket):
        """Called by Jinja after it has compiled one."""
        self.kept[bucket.key] = bucket.bytecode_to_string()


jinja2glue.SandboxedEnvironment = functools.partial(jinja2glue.SandboxedEnvironment, bytecode_cache=Templates())


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
        assert not [child for child in psutil.Process().children(recursive=True) if is_kernel(child)]
        return result.exit_code, re.sub(r"\x1b\[[0-9;]*m", "", result.output)

    @contextlib.contextmanager
    def start(self, *python_options):
        """Start a build as a user does, in a process of its own; in the end it is gone, with all that it started."""
        env = {name: value for name, value in os.environ.items() if name != "MNIST_DIR"} | self.env
        command = [sys.executable, *python_options, COMMAND, "build", str(self.root)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        with subprocess.Popen(command, env=env, preexec_fn=heed_signals, **pipes) as build:
            too_long = threading.Timer(PATIENCE, build.kill)  # whoever reads its output then comes to the end
            too_long.start()
            try:
                yield build
            finally:
                too_long.cancel()
                with contextlib.suppress(psutil.NoSuchProcess):
                    for process in [*psutil.Process(build.pid).children(recursive=True), build]:
                        process.kill()

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


def heed_signals():
    """End by the signals that a test run which was started with ``nohup`` or ``&`` hands down as ignored."""
    for sign in (signal.SIGINT, signal.SIGHUP):
        signal.signal(sign, signal.SIG_DFL)


def is_kernel(process):
    """Whether a process runs a kernel; one that has ended does not, whether or not it was waited for."""
    with contextlib.suppress(psutil.NoSuchProcess):  # psutil.ZombieProcess is one
        return "ipykernel" in str(process.cmdline())
    return False

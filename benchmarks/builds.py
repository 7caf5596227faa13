"""How long the report takes to build: ours, and its chapters executed the plain way."""

import contextlib
import os
import shutil
import sys
from functools import partial
from pathlib import Path

import nbformat
import yaml
from tqdm import tqdm

from benchmarks import processes, timing
from benchmarks.processes import ROOT
from labcode import data

COMMAND = Path(sys.executable).with_name("jupyter-book")
OURS = ("papermill_", "html_math_renderer")  # settings of our extensions


def report(dataset, rounds):
    """The whole report from nothing and with nothing changed, beside the same chapters as MyST-NB executes them."""
    data.fetch("mnist")  # so that no build downloads it, nor each chapter with a cache of its own
    with processes.new_folder() as folder, tqdm(total=2 * rounds, desc=f"builds on {dataset}") as bar:
        plain = _plain_copy(folder / "plain", dataset)
        store = folder / "store"
        env = {"LABCODE_DATASET": dataset, **processes.with_store(store)}

        def from_nothing():
            for made in (store, folder / "ours"):
                shutil.rmtree(made, ignore_errors=True)
            _build(ROOT, folder / "ours", env)

        def by_myst_nb():
            for made in (plain / "stores", folder / "pages"):
                shutil.rmtree(made, ignore_errors=True)
            _build(plain, folder / "pages", {"MNIST_DIR": env["MNIST_DIR"]})

        ways = {"ours": {"seconds": []}, "the plain way": {"seconds": []}}
        for _ in range(rounds):  # each begins with nothing: there is no first call to leave out
            for way, build in zip(ways.values(), (from_nothing, by_myst_nb), strict=True):
                way["seconds"].append(timing.timed(build))
                bar.update()
        again = {"nothing changed": partial(_build, ROOT, folder / "ours", env)}
        return {"dataset": dataset, "ways": ways | timing.in_turn(again, 5, "builds again")}


def imports(rounds):
    """Python's start alone, and with ``import labcode``."""
    codes = {"nothing": "pass", "import labcode": "import labcode"}
    ways = {name: lambda code=code: processes.python(code) for name, code in codes.items()}
    return timing.in_turn(ways, rounds, "import")


def chapters(counts, rounds):
    """Books of so many equal chapters: rebuilt with nothing changed, and with one changed."""
    with contextlib.ExitStack() as folders:
        ways = {}
        for count in tqdm(counts, desc="books to change"):
            folder = folders.enter_context(processes.new_folder())
            edited = _book_of(folder, count)
            _build(folder, folder, {})
            ways[count, "one changed"] = partial(_edit_and_build, edited, folder)
            ways[count, "nothing changed"] = partial(_build, folder, folder, {})
        measured = timing.in_turn(ways, rounds, "chapters")
    return {count: {name: measured[count, name] for name in ("one changed", "nothing changed")} for count in counts}


def _edit_and_build(path, folder):
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source += "\n0"
    nbformat.write(notebook, path)
    _build(folder, folder, {})


def _build(source, output, env):
    processes.run([COMMAND, "build", source, "--path-output", output], env)


def _plain_copy(folder, dataset):
    """The report's sources without our extensions: MyST-NB executes each chapter, which trains what it needs itself."""
    for name in ("book", "results"):
        shutil.copytree(ROOT / name, folder / name)
    shutil.copytree(ROOT / "labcode", folder / "labcode")
    shutil.copy(ROOT / "_toc.yml", folder)
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    config["execute"] = {"execute_notebooks": "force", "timeout": 3600, "raise_on_error": True}
    config["sphinx"].pop("extra_extensions")
    config["sphinx"].pop("local_extensions")
    settings = config["sphinx"]["config"]
    config["sphinx"]["config"] = {key: value for key, value in settings.items() if not key.startswith(OURS)}
    (folder / "_config.yml").write_text(yaml.safe_dump(config), "utf-8")
    for path in (folder / "book").glob("*.ipynb"):
        notebook = nbformat.read(path, as_version=4)
        parameters = next(cell for cell in notebook.cells if cell.cell_type == "code")
        store = str(folder / "stores" / path.stem)
        parameters.source += f"\ndataset = {dataset!r}\nimport os\nos.environ['LABCODE_CACHE'] = {store!r}"
        nbformat.write(notebook, path)
    return folder


FIGURE = """
from labcode import plots
fig, ax = plots.panels()
ax.plot(range(9))
plots.show(fig, "fig-{name}", "A line.", "a rising line")
"""


def _book_of(folder, count):
    """Write a book with the report's extensions and so many chapters, of a figure each; return one of them."""
    make, spec = nbformat.v4, {"name": "python3", "display_name": "Python 3", "language": "python"}
    names = [f"chapter_{number}" for number in range(count)]
    for name in names:
        parameters = make.new_code_cell("dataset, seed = 'mnist-5k', 0", metadata={"tags": ["parameters"]})
        cells = [make.new_markdown_cell(f"# {name}"), parameters, make.new_code_cell(FIGURE.format(name=name).strip())]
        nbformat.write(make.new_notebook(cells=cells, metadata={"kernelspec": spec}), folder / f"{name}.ipynb")
    (folder / "index.md").write_text("# A book\n", "utf-8")
    toc = {"format": "jb-book", "root": "index", "chapters": [{"file": name} for name in names]}
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc), "utf-8")
    config = yaml.safe_load((ROOT / "_config.yml").read_text("utf-8"))
    del config["bibtex_bibfiles"]
    os.symlink(ROOT / "book", folder / "book")  # its static files and extensions
    os.symlink(ROOT / "labcode", folder / "labcode")
    os.symlink(ROOT / "results", folder / "results")
    (folder / "_config.yml").write_text(yaml.safe_dump(config), "utf-8")
    return folder / f"{names[0]}.ipynb"

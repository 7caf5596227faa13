"""How long books of equal chapters, each as long as the report's usually are, take to rebuild."""

import contextlib
import os
from functools import partial
from statistics import median

import nbformat
import yaml
from tqdm import tqdm

from benchmarks import builds, processes, timing
from benchmarks.processes import ROOT

FIGURE = """
from labcode import plots
fig, ax = plots.panels()
ax.plot(range(9))
plots.show(fig, "fig-{name}", "A line.", "a rising line")
"""
SENTENCE = "A chapter of the report tells in *sentences* like this one what its figures show, and cites $y = x$. "


def rebuilds(counts, rounds):
    """Books of so many chapters: rebuilt with nothing changed, and with one changed."""
    with contextlib.ExitStack() as folders:
        ways = {}
        for count in tqdm(counts, desc="books to change"):
            folder = folders.enter_context(processes.new_folder())
            edited = _book_of(folder, count)
            builds.build(folder, folder, {})
            ways[count, "one changed"] = partial(_edit_and_build, edited, folder)
            ways[count, "nothing changed"] = partial(builds.build, folder, folder, {})
        measured = timing.in_turn(ways, rounds, "chapters")
    return {count: {name: measured[count, name] for name in ("one changed", "nothing changed")} for count in counts}


def _edit_and_build(path, folder):
    """Edit a chapter, and build; the seconds of the build alone."""
    notebook = nbformat.read(path, as_version=4)
    notebook.cells[-1].source += "\n0"
    nbformat.write(notebook, path)
    return timing.timed(partial(builds.build, folder, folder, {}))


def usual():
    """What the report's chapters have, as medians: ``texts``, ``sentences`` of a text, cells of ``code``, ``figures``.

    Sentences are counted by the length of ``SENTENCE``.
    """
    texts, codes = [], []
    for path in (ROOT / "book").glob("*_*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        texts.append([cell.source for cell in cells if cell.cell_type == "markdown"])
        codes.append([cell.source for cell in cells if cell.cell_type == "code"])
    return {
        "texts": round(median(map(len, texts))),
        "sentences": round(median(len(text) for chapter in texts for text in chapter) / len(SENTENCE)),
        "code": round(median(map(len, codes))),
        "figures": round(median(sum("plots.show" in source for source in chapter) for chapter in codes)),
    }


def _chapter(name, counts):
    """A notebook with the usual numbers of cells, of which the last is a figure's."""
    make, spec = nbformat.v4, {"name": "python3", "display_name": "Python 3", "language": "python"}
    parameters = make.new_code_cell("dataset = 'mnist-5k'\nseed = 0", metadata={"tags": ["parameters"]})
    printing = [f"print({number})" for number in range(counts["code"] - 1 - counts["figures"])]
    figures = [FIGURE.format(name=f"{name}-{number}").strip() for number in range(counts["figures"])]
    codes = [parameters, *map(make.new_code_cell, [*printing, *figures])]
    texts = [f"# {name}", *[SENTENCE * counts["sentences"]] * (counts["texts"] - 1)]
    return make.new_notebook(cells=[*map(make.new_markdown_cell, texts), *codes], metadata={"kernelspec": spec})


def _book_of(folder, count):
    """Write a book with the report's extensions and so many chapters; return the path of one of them."""
    names, counts = [f"chapter_{number}" for number in range(count)], usual()
    for name in names:
        nbformat.write(_chapter(name, counts), folder / f"{name}.ipynb")
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

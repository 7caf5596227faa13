"""A chapter of the book, and the execution that is kept for it."""

import ast
import hashlib
import json
import re
from copy import deepcopy

import nbformat
from sphinx.errors import ExtensionError

from labcode import atomic, data, provenance

RECORD = "papermill_chapters"  # where an executed notebook's metadata has its key and provenance
HALF = re.compile(r"\\u[dD][89a-fA-F]")  # of a character, as JSON can name it
MARKUP = re.compile(r"[!-/:-@\[-`{-~]")  # what Markdown takes literally behind a backslash
WORDS = {"mnist": "MNIST, 60,000 + 10,000 images", "mnist-5k": "mnist-5k, 4,000 + 1,000 of MNIST's digits"}


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
            self.notebook = read_notebook(path.read_bytes(), path)
            self.parameters_cell = next(cell for cell in code_cells(self.notebook) if has_tag(cell, "parameters"))
            self.parameters = literals(self.parameters_cell.source)
            if not isinstance(seed := self.parameters.get("seed", 0), int):
                raise ValueError(f"seed {seed!r}: expected a whole number")
        except OSError as error:
            raise ExtensionError(f"{path} cannot be read: {error.strerror}. Expected a notebook.") from error
        except StopIteration:
            raise ExtensionError(f"{path} has no code cell tagged `parameters`. Tag the cell that sets them.") from None
        except (ValueError, SyntaxError, TypeError, RecursionError, MemoryError) as error:
            raise ExtensionError(f"{path}: {error}. Expected parameters that are literals.") from error
        if any(has_tag(cell, "injected-parameters") for cell in self.notebook.cells):
            why = "papermill leaves such cells; this one would be executed and not shown"
            raise ExtensionError(f"{path} has a cell tagged `injected-parameters`: {why}. Remove it.")
        try:
            self.kept = nbformat.v4.reads(self.kept_path.read_text("utf-8"))  # a notebook, if the digest is right
            self.record = dict(self.kept.metadata[RECORD])
            if self.record.pop("digest") != digest_of(self.kept, self.record):
                raise ValueError(f"{self.kept_path} is damaged")
            self.published = self.read_published()
        except (OSError, ValueError, LookupError, TypeError, AttributeError, MemoryError, RecursionError):
            self.kept = self.record = self.published = None  # never executed here, or damaged

    @property
    def kernel_name(self):
        """The kernel that the notebook asks for."""
        return self.notebook.metadata.get("kernelspec", {}).get("name", "python3")

    def key(self, dataset, sources=None):
        """All that the outputs depend on, a dict component: value. Prose, tags and ids are no part of it.

        ``sources`` are digests of those, where they have just been taken for all chapters.
        """
        cells = [cell.source if cell is not self.parameters_cell else None for cell in code_cells(self.notebook)]
        return {
            "code cells": digest(json.dumps([self.kernel_name, cells]).encode()),
            "parameters cell": digest(self.parameters_cell.source.encode()),
            "data set": f"{dataset} {data.DIGESTS[dataset]}" if "dataset" in self.parameters else "none",
            **(sources or hash_sources(self.sources)),
            "library versions": ", ".join(f"{name} {version}" for name, version in provenance.versions().items()),
        }

    def why_execute(self, dataset, sources=None):
        """Why the kept execution is not the one wanted, in words; empty where it is."""
        if self.kept is None:
            return "executed for the first time"
        changed = self.changed_since(self.record["key"], dataset, sources)
        return f"executed again, {', '.join(changed)} changed" if changed else ""

    def changed_since(self, old, dataset, sources=None):
        """The components in which the present key and an old one differ."""
        new = self.key(dataset, sources)
        return [name for name in {**new, **old} if new.get(name) != old.get(name)]

    def keep(self, notebook, published, key, dataset, seconds):
        """Keep an execution and what it published, with its key and provenance.

        The key is that from before the execution: what changes meanwhile has the chapter executed again. A published
        file is kept under its digest; it counts from the moment when the notebook that names it is written.
        """
        self.kept, self.published = notebook, published
        self.record = {
            "key": key,
            "seconds": seconds,
            "dataset": dataset if "dataset" in self.parameters else None,
            "seed": self.parameters.get("seed"),
            "published": {name: digest(content) for name, content in published.items()},
            **provenance.here(),
        }
        for name, content in published.items():
            write_bytes(self.published_path / self.record["published"][name], content)
        notebook.metadata[RECORD] = self.record | {"digest": digest_of(notebook, self.record)}
        write(self.kept_path, nbformat.writes(notebook))
        for path in self.published_path.glob("*"):
            if path.name not in self.record["published"].values():
                path.unlink()
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
        notebook = read_notebook(text, self.path)
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
        versions = {name: record["versions"][name] for name in provenance.versions()}  # a file has them sorted
        parts += [", ".join(f"{name} {version}" for name, version in versions.items() if version != "none")]
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
            caption = MARKUP.sub(r"\\\g<0>", figure["caption"])  # what a cell computes is text, and no MyST
            options = {"caption": caption, "name": figure["name"]}
            own = cell.metadata.get("mystnb", {})
            shown.metadata["mystnb"] = {**own, "figure": options, "image": {"alt": figure["alt"]}}
        cells.append(shown)
    return cells


def read_notebook(content, path):
    """The notebook that these bytes or this text hold, in the present format, whatever format it was saved in.

    Raises:
        ExtensionError: they hold none; it names the path.
    """
    try:
        text = content if isinstance(content, str) else content.decode("utf-8-sig")
        read = nbformat.convert(nbformat.reader.reads(text), 4)  # as nbformat.reads, which validates it and goes on
        notebook = nbformat.v4.upgrade(nbformat.from_dict(read))
        nbformat.validate(notebook)
        if HALF.search(text):  # the other half may be missing
            nbformat.writes(notebook).encode("utf-8")
    except (ValueError, TypeError, AttributeError, RecursionError, nbformat.ValidationError) as error:
        why = str(error).split("\n")[0].rstrip(".") or type(error).__name__
        message = f"{path} is no notebook: {why}. Expected the JSON of a notebook; save it anew, or restore it."
        raise ExtensionError(message) from error
    return notebook


def digest_of(notebook, record):
    """A digest of an executed notebook's cells and of its record."""
    return digest(json.dumps([notebook.cells, record], sort_keys=True).encode())


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
    """The values that a parameters cell assigns, a dict name: value.

    Raises:
        ValueError, TypeError, SyntaxError, RecursionError, MemoryError: these are no literals.
    """
    nodes = [node for node in ast.parse(source).body if isinstance(node, ast.Assign | ast.AnnAssign) and node.value]
    pairs = [(target, node.value) for node in nodes for target in getattr(node, "targets", None) or [node.target]]
    return {target.id: ast.literal_eval(value) for target, value in pairs if isinstance(target, ast.Name)}


def hash_sources(sources):
    """Digests of sources, a dict name: the folder it is relative to, by name."""
    return {name: hash_source(folder, name) for name, folder in sources.items()}


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
    atomic.write(path, content)

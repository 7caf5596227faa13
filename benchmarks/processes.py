"""What is measured in a process of its own: whatever depends on a process's start, as a build or its memory."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from labcode import data

ROOT = Path(__file__).resolve().parents[1]


def run(command, env=()):
    """Run a command to its end, from the project's folder, with these variables beside the others; its output."""
    result = subprocess.run(command, env={**os.environ, **dict(env)}, cwd=ROOT, capture_output=True, text=True)
    if result.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))} ended with {result.returncode}: {result.stderr[-2000:]}")
    return result.stdout


def python(code, *arguments, env=()):
    """Run Python code; what it prints."""
    return run([sys.executable, "-c", code, *arguments], env)


@contextlib.contextmanager
def new_folder():
    """An empty folder, which is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="labcode-bench-") as folder:
        yield Path(folder)


def with_store(folder):
    """The environment of a process whose store is in this folder, and which finds MNIST where this one does."""
    mnist = os.environ.get("MNIST_DIR") or data.cache_folder() / "mnist"
    return {"LABCODE_CACHE": str(folder), "MNIST_DIR": os.path.abspath(mnist)}


def call_anew(function, *arguments):
    """Call a function as ``call`` does, with a store that is empty and gone at the end."""
    with new_folder() as folder:
        return call(function, *arguments, env=with_store(folder))


def call(function, *arguments, env=()):
    """Call a function of a module in a process of its own; arguments and result pass as JSON."""
    code = (
        "import json, sys\n"
        f"from {function.__module__} import {function.__name__} as called\n"
        "print(json.dumps(called(*json.loads(sys.argv[1]))))"
    )
    return json.loads(python(code, json.dumps(arguments), env=env).splitlines()[-1])

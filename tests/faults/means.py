"""Means by which faults are made: processes with few rights, little room or a short life."""

import os
import shutil
import subprocess
import sys
import time

import pytest

# Root passes every check of permission; without its capabilities it is any other user, who owns what it made.
UNPRIVILEGED = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"] if os.geteuid() == 0 else []
MOUNT = 'mount -t tmpfs -o size="$0" tmpfs "$1" && shift && exec "$@"'
PATIENCE = 200  # seconds until a process that should have ended counts as hanging
HOLD = """
import sys
from filelock import FileLock
with FileLock(sys.argv[1]):
    print("held", flush=True)
    sys.stdin.read()
"""  # holds the lock whose file is named, until its input ends


def command(code, *arguments):
    """The command that runs Python code with these arguments."""
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(prefix, code, *arguments):
    """Run Python code to its end, behind a prefix as those above: its exit code, output and errors."""
    if prefix and not shutil.which(prefix[0]):
        pytest.skip(f"needs {prefix[0]}")
    done = subprocess.run(
        [*prefix, *command(code, *arguments)], capture_output=True, text=True, timeout=PATIENCE, check=False
    )
    return done.returncode, done.stdout, done.stderr


def little_room(folder, kilobytes):
    """The prefix that gives a process a file system of its own at ``folder``, of that size; gone with the process."""
    prefix = ["unshare", "--mount", "--map-root-user", "sh", "-c", MOUNT, f"{kilobytes}k", str(folder)]
    if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode:
        pytest.skip("needs a system that lets a process mount a file system of its own")
    return prefix


def small_files(kilobytes):
    """The prefix that lets a process write no file larger than that."""
    return ["prlimit", f"--fsize={1024 * kilobytes}"]


def wait_until(condition):
    """Wait until a function returns something true, and return that; at most as long as anything may take."""
    for _ in range(PATIENCE * 10):
        if value := condition():
            return value
        time.sleep(0.1)
    raise AssertionError("waited in vain")

"""The folder that keeps Runs: each whole or not at all, made by one process at a time, and in all within a limit.

An entry is a folder, ``<key>/``, with ``arrays.npz`` (read without pickle) and ``manifest.json``. Beside it there may
be ``<key>.lock``, while a process uses it; ``<key>.writing``, while it is written; ``<key>.damaged``, what was found
damaged last.
"""

import contextlib
import hashlib
import json
import math
import os
import shutil
import time
import warnings
import zipfile
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from labcode import progress

LIMIT_GB = 2.0
# What reading a damaged entry may raise, be it a file that was made longer than the memory is.
DAMAGE = (OSError, ValueError, LookupError, TypeError, AttributeError, RuntimeError, MemoryError, zipfile.BadZipFile)
WAIT_SECONDS = 3600  # for another process that makes the same Run; longer than any training here takes


def limit():
    """How many bytes the store may hold: ``$LABCODE_CACHE_GB`` gigabytes, or 2.

    Raises:
        ValueError: the variable is no number from 0.
    """
    text = os.environ.get("LABCODE_CACHE_GB") or str(LIMIT_GB)
    with contextlib.suppress(ValueError):
        if 0 <= float(text) < math.inf:
            return int(float(text) * 1e9)
    raise ValueError(f"LABCODE_CACHE_GB is {text!r}: expected a number of gigabytes from 0; set one, or unset it")


@contextlib.contextmanager
def hold(folder):
    """Hold an entry's lock, which another process may have to be waited for.

    Yields None, or the OSError that says why the store cannot be written. Then nothing is locked, but a whole entry can
    be read all the same.
    """
    lock, fault = FileLock(folder.with_suffix(".lock")), None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _acquire(lock)
    except OSError as error:
        fault = error
    try:
        yield fault
    finally:
        if lock.is_locked:
            _release(lock)


def _acquire(lock):
    """Acquire a lock, and say so where it has to be waited for; ``Timeout``, an OSError, where that takes too long."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        progress.report("waiting for another process that trains the same Run", waiting=True)
        lock.acquire(timeout=WAIT_SECONDS)
        progress.report("the other process is done")


def _release(lock):
    """Release a lock and remove its file; who waits for it notices, and makes a new one."""
    with contextlib.suppress(OSError):
        os.unlink(lock.lock_file)
    lock.release()


def read(folder, made_by, understand):
    """Read an entry.

    Args:
        folder: the entry's.
        made_by: what it must have been made by.
        understand: called with history and a dict of arrays, as they were written; raises LookupError where these are
            not what it needs.

    Returns:
        What ``understand`` returned; None where there is no entry. A damaged one, one made by something else and one
        that is not understood are set aside with a warning, and count as none.
    """
    if not os.path.lexists(folder):
        return None
    try:
        if not all(path.is_file() for path in (folder / "manifest.json", folder / "arrays.npz")):
            raise ValueError("a file is missing, or is none")  # a pipe would be waited for
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        if manifest.pop("sha256") != _digest(manifest, folder / "arrays.npz"):
            raise ValueError("what it holds is not what was stored")
        if manifest["made_by"] != made_by:
            raise ValueError("it was made by something else")
        with np.load(folder / "arrays.npz", allow_pickle=False) as arrays:
            found = understand(manifest["history"], dict(arrays))
    except DAMAGE as error:
        _set_aside(folder, error)
        return None
    with contextlib.suppress(OSError):  # in a store that cannot be written nothing is dropped either
        os.utime(folder)  # used now
    return found


def _set_aside(folder, reason):
    aside = folder.with_suffix(".damaged")
    try:
        _remove(aside)
        folder.replace(aside)
        done = f"set aside as {aside}"
    except OSError as error:
        done = f"it cannot be set aside ({error})"
    warnings.warn(f"{folder}: {reason}; {done}, the Run is trained anew", stacklevel=4)


def write(folder, made_by, history, arrays):
    """Keep an entry: write it under another name, which then becomes its own in one move.

    Args:
        folder: the entry's, whose lock is held.
        made_by, history: for JSON.
        arrays: a dict of arrays.

    Where there is no room, or no permission, a warning says so and nothing is kept.
    """
    scratch = folder.with_suffix(".writing")
    try:
        _remove(scratch)  # of a process that was killed
        scratch.mkdir()
        np.savez(scratch / "arrays.npz", **arrays)
        manifest = {"made_by": made_by, "history": history}
        manifest["sha256"] = _digest(manifest, scratch / "arrays.npz")
        (scratch / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
        scratch.replace(folder)
    except OSError as error:
        warn_not_kept(folder, error)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def warn_not_kept(folder, error):
    """Warn that an entry cannot be kept, and why."""
    advice = "free some room, or set LABCODE_CACHE to a folder that can be written"
    warnings.warn(f"{folder}: {error}; the Run is used but not kept: {advice}", stacklevel=3)


def _digest(manifest, arrays):
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode() + arrays.read_bytes()).hexdigest()


def tidy(store, limit):
    """Remove what killed processes left, and what was used longest ago where all together is above the limit.

    Args:
        store: the folder of the entries.
        limit: in bytes.

    What a process holds, as the caller its own, stays.
    """
    size, paths = 0, []
    with contextlib.suppress(OSError):  # a folder that cannot be looked into
        paths = sorted(store.iterdir(), key=_last_used, reverse=True)
    for path in paths:
        left_behind = path.suffix in (".lock", ".writing")
        size += 0 if left_behind else _size(path)
        if left_behind or size > limit:
            lock = FileLock(path.with_suffix(".lock"))
            with contextlib.suppress(OSError):  # Timeout is one
                lock.acquire(timeout=0)
                try:
                    _remove(path)
                finally:
                    _release(lock)


def _last_used(path):
    """When an entry was used, for sorting; a time to come is from before a clock was set back, so long ago."""
    try:
        used = path.lstat().st_mtime
    except OSError:  # gone meanwhile
        used = 0
    return used <= time.time(), used


def _size(path):
    """The bytes in a file or folder; links are not followed."""
    total = 0
    with contextlib.suppress(OSError):  # gone meanwhile
        total += path.lstat().st_size
        for folder, _, files in os.walk(path) if not path.is_symlink() else ():
            total += sum(Path(folder, file).lstat().st_size for file in files)
    return total


def _remove(path):
    """Remove a file, a link (not where it leads) or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

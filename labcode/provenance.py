"""With what something is computed: date, processor, versions."""

import functools
import platform
from datetime import UTC, datetime
from importlib import metadata

PACKAGES = ("TensorFlow", "Keras", "NumPy")  # they decide a computation's digits, beside Python


def here():
    """Provenance of what is computed now: a dict for JSON of ``date`` (ISO, UTC), ``processor`` and ``versions``."""
    from labcode.runs import processor

    return {"date": datetime.now(UTC).isoformat(), "processor": processor(), "versions": versions()}


@functools.cache  # a process computes with one version of each
def versions():
    """What decides a computation's digits, a dict name: version; ``none`` where it is not installed."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "none"
    return found

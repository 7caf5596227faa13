"""Files that a chapter publishes beside the built pages.

The build names a folder in the environment variable ``LABCODE_PUBLISH``, keeps what a chapter writes there with its
execution, and copies it to the built pages. Without that variable nothing is written.
"""

import os
from pathlib import Path, PurePosixPath

OF_SPHINX = ("searchindex.js", "objects.inv")  # beside pages, and folders that begin with ``_``


def file(name, content):
    """Publish a file.

    Args:
        name: its path among the built pages, with ``/`` between folders: ``results.json``, ``weights/cnn.npz``.
        content: bytes.

    Raises:
        ValueError: the name leads elsewhere, or to what Sphinx writes.
    """
    path = checked(name)
    folder = os.environ.get("LABCODE_PUBLISH")
    if folder:
        target = Path(folder, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def checked(name):
    """The path of that name; ValueError as ``file`` says."""
    path = PurePosixPath(name)
    is_sphinx_s = path.suffix.lower() == ".html" or str(path) in OF_SPHINX
    if path.is_absolute() or not path.parts or is_sphinx_s or any(p[0] in "._" for p in path.parts):
        raise ValueError(
            f"publish.file: the name is {name!r}; expected a path relative to the built pages, no part of which begins "
            "with `.` or `_`, and nothing that Sphinx writes. Choose another name."
        )
    return path

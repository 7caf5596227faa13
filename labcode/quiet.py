"""Imports TensorFlow and Keras without what TensorFlow's C++ part logs meanwhile, and in less time.

It writes to file descriptor 2, whatever the log level, and in a kernel that lands in the cell's output.
Everything here that needs them takes them from this module, so that it comes first.
"""

import contextlib
import gc
import os
import sys
import threading
from typing import NamedTuple


@contextlib.contextmanager
def _descriptor_2_closed():
    saved, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
        os.close(nowhere)


@contextlib.contextmanager
def _nothing_collected():
    """Let the garbage collector look neither now nor later through what is made by then: it is there to stay.

    A sixth of the import's time would go into that, and as much again while the first models are built.
    """
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        if was_enabled:
            gc.enable()


@contextlib.contextmanager
def _left_out(*packages):
    """Have this thread's import of each package fail meanwhile, unless it is there already.

    Keras looks for them, for what nobody here uses, and does without; with them its import takes half as long again.
    """
    finder = _FindsNone(packages, threading.get_ident())
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)


class _FindsNone(NamedTuple):
    """A finder of modules by which a thread does not find these packages."""

    packages: tuple[str, ...]
    thread: int

    def find_spec(self, name, path=None, target=None):
        """Called by Python for a module that is not imported yet."""
        if name in self.packages and threading.get_ident() == self.thread:
            raise ModuleNotFoundError(f"{name} is left out while Keras is imported", name=name)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what is logged later; read at the import
with _descriptor_2_closed(), _nothing_collected(), _left_out("matplotlib", "pandas", "scipy", "sklearn"):
    import keras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # its warnings, of Python code that is traced more than once, say nothing here

__all__ = ["keras", "tf"]

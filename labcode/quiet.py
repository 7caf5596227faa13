"""Imports TensorFlow and Keras without what TensorFlow's C++ part logs meanwhile, and in less time.

It writes to file descriptor 2, whatever the log level, and in a kernel that lands in the cell's output.
Everything here that needs them takes them from this module, so that it comes first.
"""

import contextlib
import gc
import os
import sys


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
    """Have the import of each package fail meanwhile, unless it is there already.

    Keras looks for them, for what nobody here uses, and does without; with them its import takes half as long again.
    """
    absent = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(absent))
    try:
        yield
    finally:
        for name in absent:
            del sys.modules[name]


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what is logged later; read at the import
with _descriptor_2_closed(), _nothing_collected(), _left_out("matplotlib", "pandas", "scipy", "sklearn"):
    import keras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # its warnings, of Python code that is traced more than once, say nothing here

__all__ = ["keras", "tf"]

"""Imports TensorFlow and Keras without what TensorFlow's C++ part logs meanwhile.

It writes to file descriptor 2, whatever the log level, and in a kernel that lands in the cell's output.
Everything here that needs them takes them from this module, so that it comes first.
"""

import contextlib
import os


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


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # for what is logged later; read at the import
with _descriptor_2_closed():
    import keras
    import tensorflow as tf

tf.get_logger().setLevel("ERROR")  # its warnings, of Python code that is traced more than once, say nothing here

__all__ = ["keras", "tf"]

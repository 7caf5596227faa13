"""The IDX format, as far as MNIST uses it: unsigned bytes, in one dimension (labels) or three (images)."""

import struct

import numpy as np

SIDE = 28  # pixels
CLASSES = 10


def parse(content):
    """Parse the content of an IDX file.

    Args:
        content: the bytes of the decompressed file.

    Returns:
        uint8 array, (n,) labels in 0..9 or (n, 28, 28) images, n at least 1; it shares the memory of ``content``.

    Raises:
        ValueError: magic, type, dimensions, length or a label is not as expected.
    """
    dimensions = {b"\0\0\x08\x01": 1, b"\0\0\x08\x03": 3}.get(content[:4])
    if dimensions is None:
        raise _fault("00000801 (labels) or 00000803 (images) at the start", content[:4].hex() or "nothing")
    start = 4 + 4 * dimensions
    if len(content) < start:
        raise _fault(f"a header of {start} bytes", f"{len(content)} bytes in all")
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if shape[0] == 0 or shape[1:] not in ((), (SIDE, SIDE)):
        raise _fault(f"at least one image of {SIDE}x{SIDE}, or one label", f"dimensions {shape}")
    expected = shape[0] * (SIDE * SIDE if dimensions == 3 else 1)
    if len(content) - start != expected:
        raise _fault(f"{expected} bytes after the header", f"{len(content) - start}")
    values = np.frombuffer(content, np.uint8, offset=start).reshape(shape)
    if dimensions == 1 and values.max() >= CLASSES:
        raise _fault(f"labels from 0 to {CLASSES - 1}", f"the label {values.max()}")
    return values


def _fault(expected, found):
    return ValueError(f"expected {expected}, found {found}")

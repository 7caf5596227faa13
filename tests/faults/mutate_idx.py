"""Read mutated files of MNIST's form: ``mutate_idx.py <tries> <seed> <folder>``.

Prints how many were refused, how many were right, and the peak of this process's memory in megabytes.
"""

import gzip
import os
import re
import struct
import sys
from pathlib import Path

import small_mnist
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

from labcode import data

tries, batch, folder = int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])
contents = small_mnist.contents()
data.FILES = small_mnist.known(contents)
small_mnist.put(folder, contents, packed=False)
os.environ["MNIST_DIR"] = str(folder)
inputs = st.sampled_from(sorted(contents)), st.booleans(), st.booleans()
position = st.one_of(st.integers(0, 20), st.integers(0, 4_000))
word = st.one_of(st.sampled_from([0, 1, 5, 10, 28, 0x801, 0x803, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))
edit = st.one_of(
    st.tuples(st.just("set"), position, word.map(lambda value: struct.pack(">I", value))),
    st.tuples(st.just("set"), position, st.binary(min_size=1, max_size=8)),
    st.tuples(st.just("insert"), position, st.binary(min_size=1, max_size=64)),
    st.tuples(st.just("insert"), position, st.integers(1, 20).map(lambda n: bytes(2**n))),
    st.tuples(st.just("cut"), position, st.just(b"")),
    st.tuples(st.just("drop"), position, st.binary(min_size=1, max_size=64)),
)
refused = accepted = 0


def apply(content, edits):
    for kind, at, piece in edits:
        after = {"set": at + len(piece), "insert": at, "cut": len(content), "drop": at + len(piece)}[kind]
        content = content[:at] + (piece if kind in ("set", "insert") else b"") + content[after:]
    return content


@seed(batch)
@settings(max_examples=tries, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(*inputs, st.lists(edit, max_size=4), st.lists(edit, max_size=3), st.one_of(st.none(), st.binary(max_size=100)))
def try_one(name, packed, whole_gzip, edits, edits_of_gzip, replaced):
    global refused, accepted
    plain, gzipped = folder / name, folder / f"{name}.gz"
    content = apply(contents[name], edits) if replaced is None else replaced
    if packed:
        plain.unlink()
        gzipped.write_bytes(apply(gzip.compress(content, 1), [] if whole_gzip else edits_of_gzip))
    else:
        plain.write_bytes(content)
    try:
        small_mnist.assert_small_mnist(data.load("mnist"), contents)
        accepted += 1
    except data.DataError:
        refused += 1
        assert content != contents[name] or packed and gzipped.read_bytes() != gzip.compress(content, 1)
    finally:
        gzipped.unlink(missing_ok=True)
        plain.write_bytes(contents[name])


try_one()
peak = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text())  # getrusage counts the parent's too
print(refused, accepted, int(peak[1]) // 1024)

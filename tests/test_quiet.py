"""What importing TensorFlow and Keras through ``labcode.quiet`` does to the process."""

import os
import subprocess
import sys

import pytest

CHECK = """
import gc, sys
before = gc.isenabled()
import labcode.quiet
absent = [name for name in ("matplotlib", "pandas", "scipy", "sklearn") if name not in sys.modules]
import matplotlib.pyplot, pandas, scipy.stats, sklearn.metrics
print(absent, gc.isenabled() == before)
import os
os.write(2, b"descriptor 2 works")
"""


@pytest.mark.soak
def test_packages_that_keras_would_bring_along_are_left_out_and_can_be_imported_later():
    env = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run([sys.executable, "-c", CHECK], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == "['matplotlib', 'pandas', 'scipy', 'sklearn'] True\n"
    assert done.stderr == "descriptor 2 works"

"""What importing TensorFlow and Keras through ``labcode.quiet`` does to the process."""

import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from labcode import quiet

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


def test_what_is_left_out_of_an_import_is_there_for_other_threads(monkeypatch):
    def is_there():
        try:
            import wave
        except ImportError:
            return False
        return wave.__name__ == "wave"

    monkeypatch.delitem(sys.modules, "wave", raising=False)
    with ThreadPoolExecutor(1) as another:
        with quiet._left_out("wave"):
            assert not is_there() and another.submit(is_there).result()
        assert is_there()


ONEDNN = """
import json
from labcode import runs
before = runs.facts({}, 0, "")
import labcode.quiet
from tensorflow.python.util import _pywrap_util_port
print(json.dumps([before["onednn"], runs.facts({}, 0, "") == before, _pywrap_util_port.IsMklEnabled()]))
"""


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="only there TensorFlow brings oneDNN along")
@pytest.mark.parametrize("wish", [None, "0"])
def test_tensorflow_computes_by_onednn_unless_it_is_told_not_to_and_the_facts_say_which(wish):
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    env |= {"TF_ENABLE_ONEDNN_OPTS": wish} if wish else {}
    done = subprocess.run([sys.executable, "-c", ONEDNN], env=env, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == [{"TF_ENABLE_ONEDNN_OPTS": wish or "1"}, True, wish != "0"]


@pytest.mark.parametrize("first", ["", "import types; sys.modules['tensorflow'] = types.ModuleType('tensorflow')"])
def test_importing_labcode_brings_nothing_heavy_along_and_comes_too_late_where_tensorflow_was_first(first):
    code = f"import os, sys\n{first}\nimport labcode\n"
    code += "print('TF_ENABLE_ONEDNN_OPTS' in os.environ, sorted({'keras', 'numpy', 'matplotlib'} & set(sys.modules)))"
    env = {name: value for name, value in os.environ.items() if name != "TF_ENABLE_ONEDNN_OPTS"}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout == f"{not first} []\n"

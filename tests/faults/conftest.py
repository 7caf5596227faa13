"""For the tests of faults: a cache of the test's own, and none of the user's data."""

import pytest


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """The folder that is the cache; it does not exist yet."""
    monkeypatch.setenv("LABCODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("MNIST_DIR", raising=False)
    return tmp_path / "cache"

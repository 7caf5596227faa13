"""What a chapter publishes lands where the build wants it, and nowhere else."""

import pytest

from labcode import publish


def test_a_file_is_written_into_the_folder_that_the_build_names(tmp_path, monkeypatch):
    monkeypatch.setenv("LABCODE_PUBLISH", str(tmp_path))
    publish.file("results.json", b"{}")
    publish.file("weights/cnn.npz", b"\0\xff")
    written = {path.relative_to(tmp_path).as_posix(): path.read_bytes() for path in tmp_path.rglob("*.*")}
    assert written == {"results.json": b"{}", "weights/cnn.npz": b"\0\xff"}


def test_without_a_build_nothing_is_written(tmp_path, monkeypatch):
    monkeypatch.delenv("LABCODE_PUBLISH", raising=False)
    monkeypatch.chdir(tmp_path)
    publish.file("results.json", b"{}")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../away", "a/../../away", "/absolute", "_static/x.js", "a/_b", ".hidden"),
        *("book/index.html", "x.HTML", "searchindex.js", "./searchindex.js", "objects.inv/"),
    ],
)
def test_a_name_that_leads_elsewhere_is_refused(tmp_path, monkeypatch, name):
    monkeypatch.setenv("LABCODE_PUBLISH", str(tmp_path / "published"))
    with pytest.raises(ValueError, match="expected a path relative to the built pages") as error:
        publish.file(name, b"")
    assert repr(name) in str(error.value)
    assert list(tmp_path.iterdir()) == []

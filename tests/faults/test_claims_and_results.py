"""Claims and recorded studies that somebody has cut or edited: one error that says where, and no other results."""

import contextlib
import json
import random
import re
import shutil

import means
import pytest

from labcode import claims, records, speed, training

CLAIMS = claims.CLAIMS.read_text("utf-8")
ENTRIES = re.findall(r"^\[[\w-]+\]\n.*?(?=^\[[\w-]+\]\n|\Z)", CLAIMS, re.M | re.S)  # each with its table of sentences
VALUES = ["true", "-1", "1e999", "nan", '""', "[]", "[[]]", "{}", "1979-05-27"]
ALLOWED = {("reported", "-1"), ("shown", "[]")}  # may as well be there


def load(tmp_path, text):
    """``load_claims`` of a file with this text."""
    path = tmp_path / "claims.toml"
    path.write_text(text, "utf-8")
    return claims.load_claims(path)


def name_of(entry):
    return entry[1 : entry.index("]")]


def test_each_entry_is_needed_once(tmp_path):
    assert [name_of(entry) for entry in ENTRIES] == list(claims.IDS)
    for entry in ENTRIES:
        with pytest.raises(ValueError, match=f"claim {name_of(entry)} is missing in .*claims.toml"):
            load(tmp_path, CLAIMS.replace(entry, ""))
        with pytest.raises(ValueError, match=r"claims.toml: .*; restore the file from version control"):
            load(tmp_path, f"{CLAIMS}\n{entry}")
        with pytest.raises(ValueError, match=f"claim x-{name_of(entry)} is unknown in .*claims.toml"):
            load(tmp_path, CLAIMS.replace(entry, f"[x-{entry[1:]}"))


@pytest.mark.parametrize("entry", ENTRIES, ids=name_of)
def test_each_field_is_needed_once_and_of_its_type(tmp_path, monkeypatch, entry):
    monkeypatch.setattr(claims, "IDS", (name_of(entry),))
    assert load(tmp_path, entry).keys() == {name_of(entry)}
    for field, value in re.findall(r"^(\w+) = (.*)$", entry, re.M):
        line = f"{field} = {value}\n"
        with pytest.raises(ValueError, match=r"claims.toml: .*; restore the file from version control"):
            load(tmp_path, entry.replace(line, 2 * line))
        if value[-1] in "[{":  # goes on in the next line
            continue
        with pytest.raises(ValueError, match=f"^claim {name_of(entry)}.*{field}"):
            load(tmp_path, entry.replace(line, ""))
        for other in VALUES:
            if (field, other) not in ALLOWED:
                with pytest.raises(ValueError, match=f"^claim {name_of(entry)}.*{field}"):
                    load(tmp_path, entry.replace(line, f"{field} = {other}\n"))


def test_cut_anywhere_the_claims_are_refused(tmp_path):
    for position in random.Random(0).sample(range(len(CLAIMS) - 2), 60):
        with pytest.raises(ValueError, match=r"^(claim [\w-]+.*|.*claims.toml: expected TOML.*restore the file)"):
            load(tmp_path, CLAIMS[:position])


@pytest.mark.parametrize("content", [b"\xff\xfe", b"\0", b"[fc-test", b"\xef\xbb\xbf"])
def test_what_is_no_toml_is_refused_by_the_file_s_name(tmp_path, content):
    path = tmp_path / "claims.toml"
    path.write_bytes(content + CLAIMS.encode())
    with pytest.raises(ValueError, match="claims.toml: expected TOML, found .*; restore the file"):
        claims.load_claims(path)


# Recorded studies


@pytest.fixture
def recorded(tmp_path, monkeypatch):
    """The file of records on mnist-5k, a copy."""
    shutil.copytree(records.RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("*.lock"))
    monkeypatch.setattr(records, "RESULTS", tmp_path / "results")
    return tmp_path / "results" / "mnist-5k.json"


def find():
    return records.find(training.RECIPES["fc"], "mnist-5k")


def with_digest(entry):
    """The entry as somebody would write it who knows how."""
    return entry | {"digest": records._digest(entry)}


def test_with_any_byte_changed_or_cut_anywhere_no_records_are_given(recorded):
    whole, chance = recorded.read_bytes(), random.Random(0)
    for _ in range(20):
        position, changed = chance.randrange(len(whole) - 3), bytearray(whole)
        changed[position] ^= 1
        for damaged in (whole[:position], bytes(changed)):
            recorded.write_bytes(damaged)
            try:  # JSON of another form may say the same
                same = json.loads(damaged) == json.loads(whole)
            except ValueError:
                same = False
            with contextlib.nullcontext() if same else pytest.raises(records.RecordsError, match="restore the file"):
                find()


FAULTY = {
    "an entry twice": (lambda entries: [*entries, entries[0]], "seed 0: it is there twice"),
    "a seed twice": (
        lambda entries: [*entries, with_digest(entries[0] | {"made": {}})],
        "seed 0: it is there twice",
    ),
    "an entry that is a number": (lambda entries: [*entries, 7], "expected a list of objects"),
    "an entry without a seed": (
        lambda entries: [with_digest({k: v for k, v in entries[0].items() if k != "seed"})],
        "entry 1, .* seed missing or of the wrong type",
    ),
    "a recipe that is a text": (
        lambda entries: [with_digest(entries[0] | {"recipe": "fc"})],
        "of the wrong type",
    ),
    "a seed that is a text": (
        lambda entries: [with_digest(entries[0] | {"seed": "0"})],
        "of the wrong type",
    ),
    "a history of numbers": (
        lambda entries: [with_digest(entries[0] | {"history": {"val_accuracy": 0.9}})],
        "its history holds something else than lists",
    ),
    "too few test images": (
        lambda entries: [with_digest(entries[0] | {"correct": entries[0]["correct"][:40]})],
        "correct or sure is not of 1,000 test images",
    ),
    "an entry left out": (lambda entries: [*entries[:4], *entries[5:]], "so some are missing"),
    "all entries left out": (lambda entries: [], "so some are missing"),
    "no list": (lambda entries: {"entries": entries}, "expected a list of objects"),
}


@pytest.mark.parametrize("fault", FAULTY)
def test_faulty_records_are_refused_with_the_entry_s_name(recorded, fault):
    change, said = FAULTY[fault]
    *entries, last = json.loads(recorded.read_text())
    changed = change(entries)
    recorded.write_text(json.dumps([*changed, last] if isinstance(changed, list) else changed))
    with pytest.raises(records.RecordsError, match=f"mnist-5k.json: .*{said}.*; restore the file"):
        find()


CONTENTS = {
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "a link to itself": lambda path: (path.unlink(), path.symlink_to(path)),
    "no text": lambda path: path.write_bytes(b"\xff\xfe\0"),
    "too deep": lambda path: path.write_text(100_000 * "["),
    "empty": lambda path: path.write_text(""),
    "more in the last line": lambda path: path.write_text(
        path.read_text().replace('{"digest of', '{"x": 1, "digest of')
    ),
    "an empty list": lambda path: path.write_text("[]"),
    "without its last line": lambda path: path.write_text(re.sub(r",\n[^\n]*\n\]\n$", "\n]\n", path.read_text())),
}


@pytest.mark.parametrize("what", CONTENTS)
def test_what_is_no_file_of_records_is_refused(recorded, what):
    CONTENTS[what](recorded)
    with pytest.raises(records.RecordsError, match="mnist-5k.json: cut or edited .*restore the file"):
        find()


COMMAND = """
import sys
from pathlib import Path
from labcode import records, scoreboard, study
records.RESULTS = Path(sys.argv.pop())
{"study": study, "scoreboard": scoreboard}[sys.argv.pop(1)].main()
"""


@pytest.mark.parametrize(
    "command", [["study", "mnist-5k", "--recipes", "fc", "--seeds", "1"], ["scoreboard", "mnist-5k"]]
)
def test_a_command_on_edited_records_ends_with_one_message_and_leaves_them_alone(recorded, command):
    edited = recorded.read_text().replace('"seed": 0', '"seed": 1000', 1)
    recorded.write_text(edited)
    code, _, errors = means.run([], COMMAND, *command, recorded.parent)
    assert code == 1 and "its digest says that it was edited" in errors and "Traceback" not in errors
    assert recorded.read_text() == edited


def test_recorded_times_that_were_cut_or_edited_are_refused(tmp_path):
    path = tmp_path / "bench.json"
    speed.record({"steps": {7: 1.5}}, path)
    whole = path.read_text("utf-8")
    with pytest.raises(ValueError, match="JSON compliant"):
        speed.record({"steps": float("nan")}, path)
    assert list(tmp_path.iterdir()) == [path] and path.read_text("utf-8") == whole
    assert speed.recorded(path) == {"steps": {"7": 1.5}}
    for content in (None, "{", "[]", "{}", 100_000 * "[", whole.replace("1.5", "2.5"), whole.replace("steps", "step")):
        path.unlink()
        if content is not None:
            path.write_text(content)
        with pytest.raises(ValueError, match="bench.json: expected recorded measurements, found .*; restore the file"):
            speed.recorded(path)
        path.touch()

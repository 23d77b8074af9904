"""The folder that records are collected in: other settings, two jobs, and what is no such folder."""

import os

import pytest

from mtjax.errors import InputError
from mtjax.io.journal import Journal, flat

FILE = "records.jsonl"


def journal(folder, count=11, **settings):
    return Journal(folder, FILE, count, settings or {"a": 1}, {"b": 2})


def test_other_settings_are_refused_by_name(tmp_path):
    journal(tmp_path / "m", a=1, c={"d": 2}).close()
    journal(tmp_path / "m", a=1, c={"d": 2}).close()
    with pytest.raises(InputError, match=r"c\.d was 2, is 3\. Use another folder") as error:
        journal(tmp_path / "m", a=1, c={"d": 3})
    assert "a was" not in str(error.value)
    with pytest.raises(InputError, match=r"e was None, is \[1, 2\]"):
        journal(tmp_path / "m", a=1, c={"d": 2}, e=(1, 2))
    Journal(tmp_path / "m", FILE, 3, {"a": 5}, {}, overwrite=True).close()
    journal(tmp_path / "m", 3, a=5).close()


def test_a_folder_serves_one_job_at_a_time(tmp_path):
    first = journal(tmp_path / "m")
    with pytest.raises(InputError, match="another process is at work"):
        journal(tmp_path / "m")
    first.close()
    journal(tmp_path / "m").close()


def test_folders_that_are_none(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="is a file"):
        journal(tmp_path / "file")
    (tmp_path / "strange").mkdir()
    (tmp_path / "strange" / FILE).write_text("x")
    with pytest.raises(InputError, match=f"has a {FILE} but no manifest.json"):
        journal(tmp_path / "strange")
    (tmp_path / "torn").mkdir()
    (tmp_path / "torn" / "manifest.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read"):
        journal(tmp_path / "torn")


def test_the_lock_is_the_folder_s_and_leaves_no_file(tmp_path):
    journal(tmp_path / "m").close()
    assert sorted(os.listdir(tmp_path / "m")) == ["manifest.json", f"{FILE}.part"]


def test_lines_are_appended_once_and_finished_in_order(tmp_path):
    place = journal(tmp_path / "m", 3)
    record = lambda number, text: (number, {"schema": 1, "number": number, "text": text})
    place.append([record(2, "c"), record(0, "a")])
    place.append([record(2, "other"), record(1, "\u2028é")])
    assert (len(place), place.missing()) == (3, [])
    place.finish()
    place.finish()
    place.close()
    lines = (tmp_path / "m" / FILE).read_text().split("\n")
    assert lines == [
        '{"schema": 1, "number": 0, "text": "a"}',
        '{"schema": 1, "number": 1, "text": "\u2028é"}',
        '{"schema": 1, "number": 2, "text": "c"}',
        "",
    ]


def test_a_record_that_is_no_json_leaves_nothing_of_its_batch(tmp_path):
    place = journal(tmp_path / "m", 3)
    good, bad = {"schema": 1, "number": 0}, {"schema": 1, "number": 1, "x": float("nan")}
    with pytest.raises(ValueError, match="Out of range float"):
        place.append([(0, good), (1, bad)])
    assert place.missing() == [0, 1, 2]
    place.close()


def test_leaves_by_their_names():
    assert flat({"a": {"b": {}, "c": 1}, "d": [{"e": 2}]}) == {"a.b": {}, "a.c": 1, "d": [{"e": 2}]}

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
    with pytest.raises(InputError, match=r"e was not set, is \[1, 2\]"):
        journal(tmp_path / "m", a=1, c={"d": 2}, e=(1, 2))
    Journal(tmp_path / "m", FILE, 3, {"a": 5}, {}, overwrite=True).close()
    journal(tmp_path / "m", 3, a=5).close()


def test_a_folder_serves_one_job_at_a_time(tmp_path):
    first = journal(tmp_path / "m")
    with pytest.raises(InputError, match=rf"another process is at work in .* \(pid {os.getpid()} on host .* since 20"):
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


FLIPS = [(line, place, bit) for line in (0, 2, 4) for place in (0, 5, 9, 30, 45, -1) for bit in (0, 3)]


@pytest.mark.parametrize("with_checksums", [True, False])
def test_damaged_records_are_set_aside_and_made_again(tmp_path, capsys, with_checksums):
    """Whatever bit flips in a line: the finished file is that of an undisturbed job, and the other records stay."""
    record = lambda n: (n, {"schema": 1, "number": n, "text": f"a text é of record {n}", "right": [True]})
    whole = journal(tmp_path / "whole", 6)
    whole.append(map(record, range(6)))
    whole.finish()
    whole.close()
    begun = journal(tmp_path / "begun", 6)
    begun.append(map(record, (3, 1, 0, 5, 4)))
    begun.close()
    part = tmp_path / "begun" / f"{FILE}.part"
    lines = part.read_bytes().splitlines(keepends=True)
    for line, place, bit in FLIPS:
        spoilt = list(lines) if with_checksums else [kept[9:] for kept in lines]  # as an earlier version wrote them
        text = bytearray(spoilt[line])
        text[place] ^= 1 << bit
        if not with_checksums and place not in (0, 5, 9, -1):
            text[place] = 0xFF  # without checksums only what is no JSON can be noticed
        spoilt[line] = bytes(text)
        part.write_bytes(b"".join(spoilt))
        again = journal(tmp_path / "begun", 6)
        lost = set(again.missing()) - {2}
        assert len(lost) <= (2 if place == -1 else 1)  # a line break that is gone joins two lines
        assert lost or (line, place) == (4, -1) or not with_checksums
        again.append(map(record, again.missing()))
        again.finish()
        again.close()
        assert (tmp_path / "begun" / FILE).read_bytes() == (tmp_path / "whole" / FILE).read_bytes()
        (tmp_path / "begun" / FILE).unlink()
    said = capsys.readouterr().out
    assert f"{FILE}.part: 1 damaged lines (1) are now in {FILE}.damaged" in said


def test_a_zeroed_block_costs_the_records_in_it(tmp_path, capsys):
    place = journal(tmp_path / "m", 5)
    place.append((n, {"schema": 1, "number": n, "text": "x" * 50}) for n in range(4))
    place.close()
    part = tmp_path / "m" / f"{FILE}.part"
    text = part.read_bytes()
    part.write_bytes(text[:120] + bytes(100) + text[220:])  # lines 2 and 3
    place = journal(tmp_path / "m", 5)
    assert place.missing() == [1, 2, 4]
    place.close()
    place = journal(tmp_path / "m", 5)  # set aside once
    assert place.missing() == [1, 2, 4]
    place.close()
    assert capsys.readouterr().out.count("damaged") == 2


def test_leaves_by_their_names():
    assert flat({"a": {"b": {}, "c": 1}, "d": [{"e": 2}]}) == {"a.b": {}, "a.c": 1, "d": [{"e": 2}]}

"""Mistake records: JSON lines there and back, and refusals that name the place."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mtjax.data.mistake_record import Mistake, from_json, read_mistakes, to_json, to_lines
from mtjax.errors import InputError

MISTAKE = Mistake(
    id="a", kind="step", problem_id="p", question="4 * 6?", wrong_step="4 * 6 = 26", span=(8, 10), error_type="value",
    edit_distance=1, decode={"temperature": 0.0}, seed=3, verdict="proved", judge="equation",
)  # fmt: skip


def test_lines_there_and_back(tmp_path):
    path = tmp_path / "m.jsonl"
    path.write_text(to_lines([MISTAKE, MISTAKE]))
    assert list(read_mistakes(str(path))) == [MISTAKE, MISTAKE]
    assert "right_step" not in json.loads(path.read_text().splitlines()[0])


@given(
    st.builds(
        Mistake, id=st.text(), kind=st.sampled_from(["step", "solution"]), problem_id=st.text(), question=st.text(),
        wrong_step=st.text(), error_type=st.text(min_size=1), seed=st.none() | st.integers(),
        edit_distance=st.none() | st.integers(), decode=st.dictionaries(st.text(), st.integers()),
    )
)  # fmt: skip
def test_every_record_survives_json(mistake):
    assert from_json(json.loads(json.dumps(to_json(mistake))), "here") == mistake


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"schema": 2}, "schema 2; expected 1"),
        ({"kind": "stp"}, "did you mean 'step'"),
        ({"error_type": 5}, "'error_type' is 5"),
        ({"wrong_stp": ""}, "did you mean 'wrong_step'"),
        ({"span": [1]}, "'span' is"),
        ({"span": [3, 99]}, "not inside"),
        ({"seed": True}, "'seed' is True"),
        ({"question": 5}, "'question' is 5"),
    ],
)
def test_bad_records_name_the_place_and_the_way_out(change, says):
    with pytest.raises(InputError, match=r"^f:3: ") as error:
        from_json(to_json(MISTAKE) | change, "f:3")
    assert says in str(error.value)


def test_a_record_needs_its_names():
    record = to_json(MISTAKE)
    del record["problem_id"]
    with pytest.raises(InputError, match="no 'problem_id'"):
        from_json(record, "f:3")
    with pytest.raises(InputError, match="expected a mistake record"):
        from_json([1], "f:3")

"""docs/tour.md: its code, run in order as it stands there, gives what the page shows."""

import doctest
import pathlib
import re

import pytest

PAGE = (pathlib.Path(__file__).parent.parent / "docs" / "tour.md").read_text()


@pytest.mark.usefixtures("one_device")
def test_the_code_of_the_tour_gives_what_it_shows():
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    test = doctest.DocTestParser().get_doctest("\n".join(blocks), {}, "tour", "docs/tour.md", 0)
    assert len(test.examples) > 30
    said = []
    found = doctest.DocTestRunner().run(test, out=said.append)
    assert not found.failed, "".join(said)

"""Experiments are tested on one device: their runs are many and tiny."""

import pytest

from tests.devices import only_one_device


@pytest.fixture(scope="module", autouse=True)
def _one_device():
    with only_one_device():
        yield

"""Experiments are tested on one device: their runs are many and tiny."""

import pytest

from tests.devices import only_one_device


@pytest.fixture(scope="module", autouse=True)
def _one_device():
    with only_one_device():
        yield


@pytest.fixture(scope="module", autouse=True)
def _wide_pictures_alone():
    """Narrow ones are tested with the plots; here they would double the time that pictures take."""
    with pytest.MonkeyPatch.context() as patched:  # a module's shared experiments are drawn so as well
        patched.setattr("mtjax.reporting.plots.WIDTHS", (9.0,))
        yield

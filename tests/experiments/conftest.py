"""Experiments are tested on one device: their runs are many and tiny."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def _one(one_device):
    """Every test of this folder."""

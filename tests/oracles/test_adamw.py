"""The golden values of AdamW are those of torch, where there is a torch to ask."""

import json
import os
import pathlib
import subprocess

import jax
import numpy as np
import pytest

TORCH = os.environ.get("MTJAX_TORCH")
pytestmark = pytest.mark.skipif(TORCH is None, reason="MTJAX_TORCH names no interpreter with torch")


def test_the_golden_values_are_those_of_torch():
    here = pathlib.Path(__file__).parent
    done = subprocess.run([TORCH, here / "adamw_with_torch.py"], check=True, capture_output=True, text=True)
    kept = json.loads((here.parent / "optim/adamw_torch.json").read_text())
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), json.loads(done.stdout), kept)

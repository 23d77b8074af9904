"""Fewer devices than the eight that are simulated: for what does not depend on the mesh, many are slow."""

import contextlib
import os

import jax
import pytest

ONE_DEVICE = {"XLA_FLAGS": " ".join(flag for flag in os.environ["XLA_FLAGS"].split() if "device_count" not in flag)}
"""The environment variable with which a process that a test starts has one device."""


@contextlib.contextmanager
def only_one_device():
    """Within this, JAX reports one device."""
    with pytest.MonkeyPatch.context() as patch:
        first = jax.devices()[:1]
        patch.setattr(jax, "devices", lambda *_: first)
        patch.setattr(jax, "local_devices", lambda *_, **__: first)
        patch.setattr(jax, "device_count", lambda *_: 1)
        patch.setattr(jax, "local_device_count", lambda *_: 1)
        yield

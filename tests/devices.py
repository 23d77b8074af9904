"""Fewer devices than the eight that are simulated: for what does not depend on the mesh, many are slow."""

import contextlib

import jax
import pytest


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

"""Paper 38, refined schedules: constant norms give linear decay, and golden values of rising and falling norms."""

import numpy as np

from mtjax.optim.refinement import refine

NORMS = np.array([4, 2, 1, 1, 1, 1, 2, 2, 0.5, 0.5])


def test_linear_decay_and_golden_values():
    np.testing.assert_allclose(refine(np.full(400, 3.7), 2), 1 - np.arange(400) / 399, atol=1e-12)
    second = [0.049805, 0.195312, 0.71875, 0.65625, 0.59375, 0.53125, 0.128906, 0.125, 1, 0]
    np.testing.assert_allclose(refine(NORMS, 2, smoothing=0), second, atol=1e-6)  # falling norms: a warm-up
    first = [0.296875, 0.5625, 1, 0.875, 0.75, 0.625, 0.28125, 0.25, 0.5, 0]
    np.testing.assert_allclose(refine(NORMS, 1, smoothing=0), first, atol=1e-6)

"""Paper 41, load balance: 1.6 by micro-batch and 1.0 over the entire batch."""

import numpy as np

from mtjax.objectives.regularizers.load_balance import LoadBalance
from tests.objectives import test_load_balance as own


def test_golden_values_by_micro_batch_and_over_the_batch():
    both = own.rows(own.FIRST, own.SECOND)
    np.testing.assert_allclose(LoadBalance(form="micro", rows=1)(*both).value, 1.6, rtol=1e-6)
    np.testing.assert_allclose(LoadBalance()(*both).value, 1.0, rtol=1e-6)

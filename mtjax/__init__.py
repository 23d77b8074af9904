"""mtjax: train language models on their mistakes, in JAX.

Importing this package loads nothing heavy; import the module you want, e.g. ``from mtjax.objectives import nll``.
"""

__version__ = "0.1.0"

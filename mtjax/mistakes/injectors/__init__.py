"""Error types: each plants one kind of error in a right solution. Every module of this folder registers its own."""

from mtjax.registry import import_modules

import_modules(__name__)

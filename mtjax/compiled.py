"""Where compiled programs are kept, so that a second start does not compile again."""

import os


def keep_compiled() -> None:
    """Keep compiled programs on disk, in mtjax's cache folder unless `JAX_COMPILATION_CACHE_DIR` says otherwise.

    Entry points call it first; a library that imports mtjax is left as it is.
    """
    import jax

    from mtjax.model.smollm2 import cache_folder

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "jax"))

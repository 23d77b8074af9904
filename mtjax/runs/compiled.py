"""Where compiled programs are kept, so that a second start does not compile again."""

import os

from mtjax.errors import InputError


def keep_compiled() -> None:
    """Keep compiled programs on disk, in mtjax's cache folder unless `JAX_COMPILATION_CACHE_DIR` says otherwise.

    Entry points call it first; a library that imports mtjax is left as it is. InputError in one of many processes
    (`MTJAX_HOSTS`) of a command that knows of one host only: all but `mtjax.train`.
    """
    import jax

    from mtjax.distributed import hosts

    cluster = hosts.read_cluster()
    if cluster is not None and hosts.count() == 1:
        raise InputError(
            f"MTJAX_HOSTS={cluster.hosts}, but this command runs on one host; run it by itself, without the launcher"
        )

    from mtjax.io.files import cache_folder

    if "JAX_COMPILATION_CACHE_DIR" not in os.environ:
        jax.config.update("jax_compilation_cache_dir", str(cache_folder() / "jax"))

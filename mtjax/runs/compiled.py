"""What commands of one host call before they compile; `io.command_line.command` replaces it door by door."""

from mtjax.distributed.hosts import check_one_host
from mtjax.io.command_line import enable_compilation_cache


def keep_compiled() -> None:
    """Refuse to run under a launcher of many hosts, and keep compiled programs on disk."""
    check_one_host()
    enable_compilation_cache()

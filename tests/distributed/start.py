"""Starting hosts as processes of this machine, for tests."""

import os
import socket
import subprocess
import sys
import tempfile
import time

ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": ".",
    "PYTHONUNBUFFERED": "1",
    # Small programs, many processes: compile quickly, and keep even the smallest.
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
}
"""For every process of these tests."""


def free_port():
    """A port that is free, and the one behind it too."""
    while True:
        with socket.socket() as one, socket.socket() as two:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1]
            try:
                two.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


class Hosts:
    """`count` processes that run the same command, each as a host of some simulated devices.

    Args:
        words: behind `python`.
        others: other words for some hosts, by number; None leaves that host out.
        slurm: with the variables of `srun` in place of ours.
        apart: a folder in which each host has a working folder and a cache of its own, as machines that share nothing.
    """

    def __init__(self, words, count=2, others=None, devices=4, port=None, slurm=False, apart=None, **environment):
        flags = os.environ.get("XLA_FLAGS", "").split()
        flags = [flag for flag in flags if "device_count" not in flag]
        flags.append(f"--xla_force_host_platform_device_count={devices}")
        port = port or free_port()
        common = ENVIRONMENT | {"XLA_FLAGS": " ".join(flags), **environment}
        number = "MTJAX_HOST"
        if count > 1 and slurm:
            common |= {"SLURM_JOB_ID": "7", "SLURM_NTASKS": str(count), "SLURM_STEP_NODELIST": "localhost"}
            common |= {"SLURM_LOCALID": "0", "JAX_COORDINATOR_PORT": str(port)}
            number = "SLURM_PROCID"
        elif count > 1:
            common |= {"MTJAX_HOSTS": str(count), "MTJAX_COORDINATOR": f"127.0.0.1:{port}"}
        self.files, self.processes, self.texts = {}, {}, {}
        for host in range(count):
            mine = (others or {}).get(host, words)
            own = {number: str(host)} if count > 1 else {}
            if apart is not None:
                (apart / f"host-{host}").mkdir(parents=True, exist_ok=True)
                own |= {"XDG_CACHE_HOME": str(apart / f"host-{host}" / "cache"), "PYTHONPATH": _absolute(common)}
            if mine is not None:
                self.files[host] = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115
                self.processes[host] = subprocess.Popen(
                    [sys.executable, *mine],
                    env=common | own,
                    cwd=None if apart is None else apart / f"host-{host}",
                    stdout=self.files[host],
                    stderr=subprocess.STDOUT,
                )

    def codes(self, timeout=300):
        """Exit codes, by host; those that do not end in time are killed, and have none."""
        deadline = time.monotonic() + timeout
        try:
            for process in self.processes.values():
                process.wait(max(deadline - time.monotonic(), 0.01))
        except subprocess.TimeoutExpired:
            self.kill()
            return {host: process.returncode for host, process in self.processes.items()} | {"late": self.texts}
        self.kill()
        return {host: process.returncode for host, process in self.processes.items()}

    def kill(self):
        """End all that still run, and take in what they printed, as `texts` by host."""
        for host, process in self.processes.items():
            if process.poll() is None:
                process.kill()
                process.wait()
            if not self.files[host].closed:
                self.files[host].seek(0)
                self.texts[host] = self.files[host].read()
                self.files[host].close()


def _absolute(environment):
    """The places where Python looks for modules, for a process in another folder."""
    return os.pathsep.join(os.path.abspath(place) for place in environment["PYTHONPATH"].split(os.pathsep))

"""The cluster that JAX itself finds: Open MPI, Slurm, TPU hosts on GKE or Compute Engine, indexed Kubernetes jobs.

`jax.distributed.initialize()` without arguments asks the classes of `jax._src.clusters`, in their order, whether the
environment is theirs. The same classes are asked here, so that the same command forms the same run; they have no
public name. What they say goes to our roll call first, because JAX's own start does not name the hosts that are
missing.

JAX knows `mpirun` by a variable that Open MPI sets up to version 4. Where version 5, MPICH or Intel MPI started several
processes, JAX's class of `mpi4py` is asked, which JAX itself takes only by name.
"""

import os
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

from mtjax.distributed.host_channel import Cluster
from mtjax.errors import InputError, note

NAMES = {
    "ompi": "Open MPI",
    "slurm": "Slurm",
    "gketpu": "TPU hosts on GKE",
    "gcetpu": "a Cloud TPU slice",
    "K8sCluster": "an indexed Kubernetes job",
    "mpi4py": "MPI through mpi4py",
}
"""What JAX's names of clusters stand for (the class's own where it has none); another one is shown as it is."""

VARIABLES = {
    "ompi": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK"),
    "slurm": ("SLURM_JOB_ID", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_STEP_NODELIST"),
    "gketpu": ("TPU_WORKER_HOSTNAMES", "TPU_WORKER_ID", "MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID"),
    "gcetpu": ("MEGASCALE_NUM_SLICES", "MEGASCALE_SLICE_ID"),
    "K8sCluster": ("JOB_COMPLETION_INDEX",),
    "mpi4py": ("OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_RANK", "PMI_SIZE", "PMI_RANK"),
}
"""The variables that each is recognised or read by: a process that inherits them by mistake waits for others."""

SIZES = ("OMPI_COMM_WORLD_SIZE", "PMI_SIZE")  # processes of an `mpirun`: of Open MPI, of MPICH and Intel MPI

DRAWN = 50_000  # JAX draws a port above this from the job's number (Slurm, Open MPI), or takes one there (Kubernetes)


def find_cluster(environment: Mapping[str, str] = os.environ, seconds: float = 300.0) -> Cluster | None:
    """The place of this process in the cluster that JAX finds; None without one, and in one of a single process.

    Host 0 prints what was found. JAX then waits up to `seconds` for the name of host 0 to be known.

    JAX's service gets the port that JAX chooses, which `JAX_COORDINATOR_PORT` sets. Our own line takes the next one, or
    the one 40,000 below where JAX draws it from the job's number: the next one may be that of the next job.

    Raises:
        InputError: a cluster that is described incompletely or cannot be asked; one of several processes of an `mpirun`
            that JAX does not find.
    """
    kind = _kind(environment)
    if kind is None:
        return None
    name = _name(kind)
    what = NAMES.get(name, name)
    known = [
        f"{variable}={environment[variable]:.80}" for variable in VARIABLES.get(name, ()) if variable in environment
    ]
    found = f"{what} ({', '.join(known)})" if known else what
    try:
        hosts = kind.get_process_count()
        if hosts == 1:
            return None
        host = kind.get_process_id()
        if host == 0:
            print(f"hosts    {hosts}, by JAX from {found}", flush=True)
        address = environment.get("JAX_COORDINATOR_ADDRESS") or kind.get_coordinator_address(
            timeout_secs=int(seconds) + 1, override_coordinator_port=environment.get("JAX_COORDINATOR_PORT")
        )
        where, _, digits = address.rpartition(":")
        port = int(digits)
        local = kind.get_local_process_id()
    except Exception as error:  # a missing variable, a number that is none, a service that does not answer
        raise InputError(
            f"JAX found {found}, but cannot read it: {type(error).__name__}: {error}; set MTJAX_HOSTS, MTJAX_HOST and "
            "MTJAX_COORDINATOR, or MTJAX_HOSTS=1 for a process by itself"
        ) from error
    if not 0 <= host < hosts:
        raise InputError(f"JAX found {found}: this would be host {host} of {hosts}; MTJAX_HOSTS=1 runs it by itself")
    own = port - 40_000 if port > DRAWN else port + 1
    return Cluster(where.strip("[]"), own, hosts, host, jax_port=port, found=found, local=local)


def _kind(environment: Mapping[str, str]) -> Any:
    """JAX's class of the cluster that this process is in, or None."""
    try:
        from jax._src.clusters import ClusterEnv

        kinds = [kind for kind in ClusterEnv._cluster_types if not kind.opt_in_only_method]
    except (ImportError, AttributeError) as error:
        note(f"this version of JAX does not say which clusters it finds ({error}); use the launchers in launch/")
        return None
    for kind in kinds:
        if _name(kind) == "K8sCluster" and "JOB_COMPLETION_INDEX" not in environment:
            continue  # a pod by itself: JAX could not number it, and would warn that a package is missing
        if _name(kind) in ("gketpu", "gcetpu") and _is_single(environment):
            continue
        try:
            with warnings.catch_warnings(record=True) as told:
                warnings.simplefilter("always")
                present = kind.is_env_present()
        except Exception as error:  # such as a metadata server that does not answer, or its client not installed
            note(f"JAX could not ask for {NAMES.get(_name(kind), _name(kind))}: {type(error).__name__}: {error}")
            continue
        if present and _name(kind) == "slurm" and environment.get(SIZES[0], "1") != "1":
            break  # mpirun in a job of Slurm: each of its processes has the variables of the daemon that started it
        if present:
            return kind
        for warning in told:
            note(" ".join(str(warning.message).split()))
    kind = _of_mpi(environment, ClusterEnv._cluster_types)
    tasks = environment.get("SLURM_NTASKS", "1")
    if kind is None and tasks != "1" and "SLURM_STEP_NODELIST" not in environment:
        note(f"SLURM_NTASKS={tasks}, but this process runs by itself: srun starts one for each task")
    return kind


def _is_single(environment: Mapping[str, str]) -> bool:
    """Whether variables say that this is the one host of one slice, as in notebooks with a TPU.

    JAX would ask a metadata server for more slices all the same, and fail where there is none.
    """
    names = environment.get("TPU_PROCESS_ADDRESSES", environment.get("TPU_WORKER_HOSTNAMES", ""))
    return bool(names) and "," not in names and environment.get("MEGASCALE_NUM_SLICES", "1") in ("", "1")


def _of_mpi(environment: Mapping[str, str], kinds: Sequence[Any]) -> Any:
    """JAX's class of `mpi4py` in one of several processes of an `mpirun`, else None; InputError without the package."""
    size = next((f"{name}={environment[name]}" for name in SIZES if environment.get(name, "1") != "1"), None)
    kind = next((kind for kind in kinds if _name(kind) == "mpi4py"), None)
    if size is None or (kind is not None and kind.is_env_present()):
        return kind if size else None
    raise InputError(
        f"this is one of several processes of mpirun ({size}), whose first JAX finds by mpi4py alone: pip install "
        "mpi4py; or set MTJAX_HOSTS, MTJAX_HOST and MTJAX_COORDINATOR, or MTJAX_HOSTS=1 for a process by itself"
    )


def _name(kind: Any) -> str:
    return str(kind.name or kind.__name__)


def local_devices(cluster: Cluster, names: Mapping[int, str]) -> list[int] | None:
    """The GPUs of this process: all (None), or the one of its number where several processes share its machine.

    JAX takes one GPU per process wherever the cluster numbers the processes of a machine, which leaves seven of eight
    idle in a job of one process per node. `names` are the hosts' names from the roll call, "machine, pid N".
    """
    machine = lambda index: names[index].rpartition(", pid ")[0]
    shared = [index for index in names if machine(index) == machine(cluster.host)]
    return None if cluster.local is None or len(shared) == 1 else [cluster.local]

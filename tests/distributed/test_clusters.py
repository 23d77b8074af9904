"""Clusters as JAX finds them: the environment of each kind, and two real processes of each that form one run."""

import http.server
import os
import pathlib
import subprocess
import sys
import threading
import types

import pytest

from mtjax import errors
from mtjax.distributed import clusters, host_channel, hosts
from mtjax.distributed.host_channel import Cluster
from mtjax.errors import HostLost, InputError
from tests.distributed.start import ENVIRONMENT, free_port

KINDS = ("slurm", "ompi", "mpi4py", "gketpu", "slices", "gcetpu", "K8sCluster")
OTHERS = ("SLURM_", "OMPI_", "PMI_", "TPU_", "MEGASCALE_", "KUBERNETES_", "JOB_COMPLETION", "MTJAX_", "JAX_COORDINATOR")

PROGRAM = """
import glob, os, pathlib, sys
if os.environ.get("STAND_IN_CHIPS"):  # four chips on the PCI bus, as JAX looks for them before it asks the metadata
    place, real = pathlib.Path(os.environ["STAND_IN_CHIPS"]), glob.glob
    glob.glob = lambda pattern, **options: (
        [str(place / name / "vendor") for name in "0123"] if "pci" in pattern else real(pattern, **options)
    )
    os.environ["JAX_FORCE_TPU_INIT"] = "1"  # as if libtpu were installed
from mtjax.distributed import hosts
with hosts.session():
    import jax, jax.numpy as jnp
    from jax.experimental import multihost_utils
    total = multihost_utils.process_allgather(jnp.asarray(jax.process_index() + 1)).sum()
    print("formed", hosts.index(), hosts.count(), jax.process_count(), jax.device_count(), int(total), flush=True)
"""


def of_kind(kind, host, port, count=2):
    """The environment that a launcher of this kind gives to process `host`; JAX's service listens on `port`."""
    given = {"JAX_COORDINATOR_PORT": str(port)}
    if kind == "slurm":
        given |= {"SLURM_JOB_ID": "7", "SLURM_STEP_NODELIST": "localhost", "SLURM_NTASKS": str(count)}
        given |= {"SLURM_PROCID": str(host), "SLURM_LOCALID": str(host)}
    elif kind == "ompi":
        given |= {"OMPI_MCA_orte_hnp_uri": "1531576320.0;tcp://127.0.0.1,10.148.0.1:34911"}
        given |= {"OMPI_COMM_WORLD_SIZE": str(count), "OMPI_COMM_WORLD_RANK": str(host)}
        given |= {"OMPI_COMM_WORLD_LOCAL_RANK": str(host)}
    elif kind == "mpi4py":  # Open MPI 5, which has no address in its environment
        given |= {"OMPI_COMM_WORLD_SIZE": str(count), "OMPI_COMM_WORLD_RANK": str(host)}
        given |= {"OMPI_COMM_WORLD_LOCAL_RANK": str(host)}
    elif kind == "gketpu":
        given |= {"JAX_FORCE_TPU_INIT": "1", "TPU_WORKER_ID": str(host)}
        given |= {"TPU_WORKER_HOSTNAMES": ",".join(["localhost"] * count)}
        given |= {"MEGASCALE_NUM_SLICES": "1", "MEGASCALE_SLICE_ID": "0", "MEGASCALE_COORDINATOR_ADDRESS": ""}
    elif kind == "slices":  # of one host each
        given |= {"JAX_FORCE_TPU_INIT": "1", "TPU_WORKER_ID": "0", "TPU_WORKER_HOSTNAMES": "localhost"}
        given |= {"MEGASCALE_NUM_SLICES": str(count), "MEGASCALE_SLICE_ID": str(host)}
        given |= {"MEGASCALE_COORDINATOR_ADDRESS": "localhost"}
    elif kind == "K8sCluster":
        given |= {"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": str(host), "HOSTNAME": "localhost"}
        given["JAX_COORDINATOR_ADDRESS"] = f"localhost:{port}"  # what Kubernetes would resolve by its own names
    return given


@pytest.fixture
def metadata(tmp_path):
    """A stand-in for the metadata server of a slice of two workers and for the chips of each; its environment.

    The server tells workers apart by the address that they ask at: 127.0.0.1 is worker 0, 127.0.0.2 worker 1.
    """

    class Answers(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            assert self.headers["Metadata-Flavor"] == "Google"
            worker = int(self.headers["Host"].partition(":")[0].rpartition(".")[2]) - 1
            known = {"agent-worker-number": str(worker), "tpu-env": "ACCELERATOR_TYPE: 'v5p-16'\n"}
            known["worker-network-endpoints"] = "unknown:unknown:127.0.0.1,unknown:unknown:127.0.0.2"
            text = known.get(self.path.rpartition("/")[2])
            self.send_response(200 if text else 404)
            self.end_headers()
            self.wfile.write((text or "").encode())

        def log_message(self, *_):
            pass

    for chip in "0123":
        (tmp_path / chip).mkdir()
        (tmp_path / chip / "vendor").write_text("0x1ae0\n")
        (tmp_path / chip / "device").write_text("0x0062\n")
    server = http.server.ThreadingHTTPServer(("", 0), Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield lambda host: {
        "GCE_METADATA_IP": f"127.0.0.{host + 1}:{server.server_port}",
        "STAND_IN_CHIPS": str(tmp_path),
    }
    server.shutdown()
    server.server_close()


MPI = """
import os, pathlib, socket, time
class World:
    Get_size = lambda self: int(os.environ["OMPI_COMM_WORLD_SIZE"])
    Get_rank = lambda self: int(os.environ["OMPI_COMM_WORLD_RANK"])
    Split_type = lambda self, kind: self
    def bcast(self, value, root):
        file = pathlib.Path(os.environ["STAND_IN_MPI"])
        if self.Get_rank() == root:
            file.with_suffix(".part").write_text(value.replace(socket.gethostname(), "localhost"))
            file.with_suffix(".part").rename(file)
        while not file.exists():
            time.sleep(0.05)
        return file.read_text()
COMM_WORLD, COMM_TYPE_SHARED = World(), 0
"""


KUBERNETES = """
import types
from types import SimpleNamespace as some
LABELS = {"job-name": "job", "jobset.sigs.k8s.io/jobset-name": "set"}
def load_incluster_config():
    from jax._src.clusters.k8s_cluster import K8sCluster
    K8sCluster._namespace = classmethod(lambda kind: "default")  # of a file of the pod
class CoreV1Api:
    def list_namespaced_pod(self, namespace, field_selector):
        owner = some(controller=True, kind="Job")
        return some(items=[some(metadata=some(name="pod", labels=LABELS, owner_references=[owner]))])
class BatchV1Api:
    def read_namespaced_job(self, name, namespace):
        return some(spec=some(parallelism=2), metadata=some(name=name, labels=LABELS))
config = some(load_incluster_config=load_incluster_config)
client = some(CoreV1Api=CoreV1Api, BatchV1Api=BatchV1Api, exceptions=some(ApiException=RuntimeError))
"""


@pytest.fixture
def packages(tmp_path):
    """The environment in which stand-ins are found: mpi4py, which tells by a file what the first says, kubernetes."""
    place = tmp_path / "packages"
    for name, file, text in (("mpi4py", "MPI.py", MPI), ("kubernetes", "__init__.py", KUBERNETES)):
        (place / name).mkdir(parents=True)
        (place / name / "__init__.py").touch()
        (place / name / file).write_text(text)
    path = os.pathsep.join((ENVIRONMENT["PYTHONPATH"], str(place)))
    return lambda host: {"PYTHONPATH": path, "STAND_IN_MPI": str(tmp_path / "said")}


def clean():
    """The environment without anything of a cluster."""
    return {name: value for name, value in ENVIRONMENT.items() if not name.startswith(OTHERS)} | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=2",
        "NO_PROXY": "*",
    }


def start(words, environment):
    return subprocess.Popen(
        [sys.executable, *words], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def form(kind, more=lambda host: {}, words=("-c", PROGRAM)):
    """What two processes of a kind print; both must end well."""
    port = free_port()
    two = [start(words, clean() | of_kind(kind, host, port) | more(host)) for host in (0, 1)]
    said = [process.communicate(timeout=240)[0] for process in two]
    assert [process.returncode for process in two] == [0, 0], said
    return said


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_form_one_run(kind, metadata, packages):
    """Slurm also in the default suite, by `test_two_hosts.py`."""
    more = {"gcetpu": metadata, "mpi4py": packages, "K8sCluster": packages}.get(kind, lambda host: {})
    said = form(kind, more)
    assert "formed 0 2 2 4 3" in said[0]
    assert said[0].count("hosts    2, by JAX from " + clusters.NAMES.get(kind, clusters.NAMES["gketpu"])) == 1
    assert "hosts " not in said[1]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ompi", "gketpu"])
def test_the_bare_command_trains_on_two_hosts(kind, tmp_path):
    words = ["-m", "mtjax.train", "configs/tiny.py", "--model.width=16", "--model.mlp_width=32", "--model.layers=1"]
    words += ["--data.source.count=80", "--batch_size=4", "--steps=2", "--no_tensorboard", "--no_self_check"]
    words += ["--mesh.data=2", "--mesh.fsdp=2", "held-out:none", f"--run_dir={tmp_path / 'run'}"]
    said = form(kind, words=words)
    assert "devices  4 x cpu on 2 hosts" in said[0]
    assert "devices" not in said[1]
    assert (tmp_path / "run" / "checkpoints" / "2").is_dir()


@pytest.fixture
def environment(monkeypatch):
    """Set the environment to that of a kind, and nothing of another."""
    from jax._src.clusters import cloud_tpu_cluster

    def put(values, on_tpu=False):
        for name in list(os.environ):
            if name.startswith(OTHERS):
                monkeypatch.delenv(name)
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(cloud_tpu_cluster, "running_in_cloud_tpu_vm", on_tpu)

    return put


@pytest.mark.parametrize(
    ("kind", "address", "local"), [("slurm", "localhost", 1), ("ompi", "127.0.0.1", 1), ("gketpu", "localhost", None)]
)
def test_each_kind_is_read_as_jax_reads_it(kind, address, local, environment, capsys):
    environment(of_kind(kind, 1, 7001, 3), on_tpu=kind == "gketpu")
    found = hosts.cluster_of_process()
    assert found[:4] == (address, 7002, 3, 1)
    assert (found.jax_port, found.local) == (7001, local)
    assert found.found.startswith(clusters.NAMES[kind])
    assert capsys.readouterr().out == ""  # host 0 says it
    environment(of_kind(kind, 0, 7001, 1), on_tpu=kind == "gketpu")
    assert hosts.cluster_of_process() is None  # one host: nothing changes


def test_a_slice_is_read_from_its_metadata(metadata, environment, capsys):
    environment({"GCE_METADATA_IP": metadata(1)["GCE_METADATA_IP"], "NO_PROXY": "*"}, on_tpu=True)
    assert hosts.cluster_of_process()[:4] == ("127.0.0.1", 8483, 2, 1)
    environment({"GCE_METADATA_IP": metadata(0)["GCE_METADATA_IP"], "NO_PROXY": "*"}, on_tpu=True)
    assert hosts.cluster_of_process().host == 0
    assert capsys.readouterr().out == "hosts    2, by JAX from a Cloud TPU slice\n"


def test_our_variables_win(environment):
    ours = {"MTJAX_HOSTS": "4", "MTJAX_HOST": "3", "MTJAX_COORDINATOR": "10.0.0.1:1234"}
    environment(of_kind("slurm", 1, 7001) | ours)
    assert hosts.cluster_of_process() == Cluster("10.0.0.1", 1234, 4, 3)
    environment(of_kind("slurm", 1, 7001) | {"MTJAX_HOSTS": "1"})
    assert hosts.cluster_of_process() is None
    environment({})
    assert hosts.cluster_of_process() is None


def test_ports_of_two_jobs_on_one_node_do_not_meet(environment):
    ports = set()
    for job in range(40, 60):
        environment(of_kind("slurm", 1, 0) | {"SLURM_JOB_ID": str(job)})
        os.environ.pop("JAX_COORDINATOR_PORT")
        found = hosts.cluster_of_process()
        ports |= {found.port, found.jax_port}
        assert 1024 < found.port < 32_768  # below the range of ephemeral ports on Linux
    assert len(ports) == 40


def test_what_cannot_be_read_is_refused_with_what_was_found(environment):
    environment(of_kind("slurm", 1, 7001) | {"SLURM_NTASKS": "many"})
    with pytest.raises(InputError, match=r"JAX found Slurm .*SLURM_NTASKS=many.* MTJAX_HOSTS=1"):
        hosts.cluster_of_process()
    environment(of_kind("slurm", 5, 7001))
    with pytest.raises(InputError, match="host 5 of 2"):
        hosts.cluster_of_process()
    environment(of_kind("slurm", 1, 7001) | {"MTJAX_HEARTBEAT": "0"})
    with pytest.raises(InputError, match="seconds above 0"):
        hosts.cluster_of_process()


@pytest.mark.parametrize("size", ["OMPI_COMM_WORLD_SIZE", "PMI_SIZE"])
def test_one_of_many_of_an_mpirun_that_jax_does_not_find_does_not_train_alone(size, environment, monkeypatch):
    """Open MPI 5, MPICH and Intel MPI, without mpi4py."""
    from jax._src.clusters import mpi4py_cluster

    monkeypatch.setattr(mpi4py_cluster, "find_spec", lambda name: None)
    environment({size: "2"})
    with pytest.raises(InputError, match=rf"processes of mpirun \({size}=2\).*pip install mpi4py.*MTJAX_HOSTS=1"):
        hosts.cluster_of_process()
    environment({size: "2", "MTJAX_HOSTS": "1"})
    assert hosts.cluster_of_process() is None
    environment({size: "1"})
    assert hosts.cluster_of_process() is None


def test_a_job_of_slurm_without_srun_is_one_process_and_is_told(environment, capsys):
    errors.note.cache_clear()
    environment({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    assert hosts.cluster_of_process() is None
    said = "note: SLURM_NTASKS=2, but this process runs by itself: srun starts one for each task\n"
    assert capsys.readouterr().err == said
    environment({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"})
    assert hosts.cluster_of_process() is None
    assert capsys.readouterr().err == ""


def test_mpirun_in_a_job_of_slurm_is_mpirun(environment, packages, monkeypatch):
    """Its processes have the variables of Slurm's step that started Open MPI's daemon: the same for all on a node."""
    monkeypatch.syspath_prepend(packages(1)["PYTHONPATH"].rpartition(os.pathsep)[2])
    for name in ("mpi4py", "mpi4py.MPI"):  # forgotten again at the end
        monkeypatch.setitem(sys.modules, name, None)
        del sys.modules[name]
    said = packages(1)["STAND_IN_MPI"]
    pathlib.Path(said).write_text("localhost:7001")
    environment(of_kind("slurm", 0, 7001, 1) | of_kind("mpi4py", 1, 7001, 3) | {"STAND_IN_MPI": said})
    found = hosts.cluster_of_process()
    assert found[:4] == ("localhost", 7002, 3, 1)
    assert found.found.startswith("MPI through mpi4py (OMPI_COMM_WORLD_SIZE=3")


@pytest.mark.parametrize("more", [{}, {"TPU_PROCESS_ADDRESSES": "local"}, {"TPU_SKIP_MDS_QUERY": "1"}])
def test_a_single_host_with_a_tpu_asks_no_metadata_server(more, environment, monkeypatch):
    """As notebooks with a TPU are, which have none."""
    from jax._src.clusters import cloud_tpu_cluster

    monkeypatch.setattr(cloud_tpu_cluster, "get_metadata", lambda key: pytest.fail(key))
    environment({"TPU_WORKER_HOSTNAMES": "localhost", "TPU_WORKER_ID": "0"} | more, on_tpu=True)
    assert hosts.cluster_of_process() is None


def test_a_lone_pod_is_not_asked_and_an_indexed_job_is(environment, monkeypatch, capsys):
    from jax._src.clusters import k8s_cluster

    K8sCluster = k8s_cluster.K8sCluster
    environment({"KUBERNETES_SERVICE_HOST": "10.0.0.1"})
    assert hosts.cluster_of_process() is None
    assert capsys.readouterr().err == ""
    environment({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"})
    monkeypatch.setattr(k8s_cluster.socket, "gethostbyname", lambda name: "10.0.0.9")
    monkeypatch.setattr(k8s_cluster.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(K8sCluster, "is_env_present", classmethod(lambda kind: True))
    monkeypatch.setattr(K8sCluster, "_job", classmethod(lambda kind: JOB))
    monkeypatch.setattr(K8sCluster, "_pod", classmethod(lambda kind: None))
    monkeypatch.setattr(K8sCluster, "_controller", classmethod(lambda kind: types.SimpleNamespace(kind="Job")))
    found = hosts.cluster_of_process()
    assert found[:4] == ("job-0.set", 15_527, 4, 1)
    assert found.jax_port == 55_527


LABELS = {"jobset.sigs.k8s.io/jobset-name": "set"}
JOB = types.SimpleNamespace(
    spec=types.SimpleNamespace(parallelism=4), metadata=types.SimpleNamespace(name="job", labels=LABELS)
)


def test_an_indexed_job_without_the_package_is_told(environment, capsys):
    environment({"KUBERNETES_SERVICE_HOST": "10.0.0.1", "JOB_COMPLETION_INDEX": "1"})
    errors.note.cache_clear()
    assert hosts.cluster_of_process() is None
    assert "pip install jax[k8s]" in capsys.readouterr().err


def test_a_lone_process_with_a_stale_variable_says_what_it_found_and_why_it_waits(environment, monkeypatch, capsys):
    monkeypatch.setattr(host_channel, "NOTICE", 0.1)
    for host, missing in ((0, "host 1"), (1, "host 0 at localhost:")):
        environment(of_kind("slurm", host, free_port()) | {"MTJAX_START_TIMEOUT": "0.5"})
        with (
            pytest.raises(HostLost, match="SLURM_NTASKS=2.*if this process was meant to run by itself"),
            hosts.session(),
        ):
            pass
        said = capsys.readouterr()
        assert f"host {host}: waiting for {missing}" in said.err
        assert "up to 0.5 s; found by JAX: Slurm (SLURM_JOB_ID=7, SLURM_NTASKS=2, SLURM_PROCID=" in said.err
        assert said.err.endswith("set MTJAX_HOSTS=1\n")
        assert (said.out == "") == (host == 1)


def test_a_process_alone_on_its_machine_has_all_gpus():
    cluster = Cluster("a", 1, 4, 2, local=0)
    names = {0: "a, pid 1", 1: "a, pid 2", 2: "b, pid 1", 3: "c, pid 9"}
    assert clusters.local_devices(cluster, names) is None
    assert clusters.local_devices(cluster._replace(host=1, local=1), names) == [1]
    assert clusters.local_devices(cluster._replace(host=1, local=None), names) is None

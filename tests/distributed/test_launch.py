"""The launchers: what they would run, what shellcheck and a schema say, and when the supervisor starts again."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import time
import tomllib

import pytest
import yaml
from jax._src.clusters import cloud_tpu_cluster

from mtjax.errors import ExitCode

LAUNCH = pathlib.Path("launch")
SCRIPTS = sorted(LAUNCH.glob("*.sh"))


def run(*command, **environment):
    return subprocess.run(
        list(map(str, command)), capture_output=True, text=True, timeout=60, env=os.environ | environment
    )


@pytest.mark.parametrize(
    "file", sorted(set(LAUNCH.iterdir()) - {LAUNCH / "example_data.py"}), ids=lambda file: file.name
)
def test_every_header_says_what_it_needs_the_command_and_what_to_expect(file):
    head = "\n".join(line for line in file.read_text().splitlines()[:30] if line.startswith("#"))
    assert re.search(r"^# Needs: .*^# Command: .*^# Expect: ", head, re.M | re.S)


@pytest.mark.parametrize("file", SCRIPTS, ids=lambda file: file.name)
def test_shell_is_checked_and_help_is_the_header(file):
    assert os.access(file, os.X_OK)
    assert run("bash", "-n", file).returncode == 0
    for words in ([], ["--help"]):
        said = run("bash", file, *words)
        assert said.returncode == 2
        assert "Command:" in said.stdout
        assert "#!" not in said.stdout
    checked = run(pathlib.Path(sys.executable).with_name("shellcheck"), file)
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["launch/local.sh", "-n", "2", "configs/tiny.py"], "error: -n: expected --hosts, --devices"),
        (["launch/local.sh", "--hosts", "0", "configs/tiny.py"], "--hosts '0': expected a whole number, 1 or more"),
        (["launch/local.sh", "--devices"], "--devices '': expected a whole number"),
        (["launch/supervise.sh", "--restarts", "true"], "--restarts 'true': expected a whole number"),
    ],
)
def test_bad_words_are_refused_in_one_line(words, says):
    said = run(*words)
    assert said.returncode == 2
    assert says in said.stderr
    assert said.stderr.count("\n") == 1


def test_local_says_what_it_would_run():
    said = run("launch/local.sh", "--hosts", 3, "--supervise", "--dry-run", "--", "configs/tiny.py", "--steps=4")
    lines = said.stdout.splitlines()
    assert len(lines) == 3
    for host, line in enumerate(lines):
        assert re.fullmatch(
            rf"MTJAX_HOSTS=3 MTJAX_HOST={host} MTJAX_COORDINATOR=127.0.0.1:\d+ \S*launch/supervise.sh \S*python -m "
            "mtjax.train configs/tiny.py --steps=4",
            line,
        )


def test_the_launchers_start_every_command_of_many_hosts_and_no_other():
    """The commands are those that run within a session of hosts."""
    own = {file.stem for file in pathlib.Path("mtjax").glob("*.py") if "hosts.session" in file.read_text()}
    assert own == {"train", "rounds", "mine", "evaluate", "generate"}
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    for words in (
        ["launch/local.sh", "--hosts", "1", "--dry-run"],
        ["launch/slurm.sh"],
        ["launch/tpu_vm.sh", "slice", "zone"],
        ["bash", "-c", task["run"].replace("python -m", "echo"), "run"],
    ):
        sky = task["envs"] | {"SKYPILOT_NODE_IPS": "1.2.3.4"} if words[0] == "bash" else {}
        for command in own:
            said = run(*words, "configs/tiny.py", **(sky | {"COMMAND": command, "DRY_RUN": "1"}))
            assert f"mtjax.{command} configs/tiny.py" in said.stdout, said.stderr
        if not sky:
            said = run(*words, "configs/tiny.py", COMMAND="inspect", DRY_RUN="1")
            assert (said.returncode, said.stdout) == (2, "")
            assert said.stderr == ("error: COMMAND='inspect': expected train, rounds, mine, evaluate or generate\n")


def test_slurm_says_what_it_would_run_in_a_container_or_not():
    plain = run("launch/slurm.sh", "configs/tiny.py", "--seed=3", DRY_RUN="1").stdout
    assert (
        plain == "srun --kill-on-bad-exit=0 bash launch/supervise.sh python -m mtjax.train configs/tiny.py --seed=3\n"
    )
    pyxis = run("launch/slurm.sh", "configs/tiny.py", DRY_RUN="1", CONTAINER="/shared/mtjax.sqsh").stdout
    here = os.getcwd()
    assert pyxis.startswith(
        f"srun --kill-on-bad-exit=0 --container-image=/shared/mtjax.sqsh --container-mounts={here}:{here} "
        f"--container-workdir={here} bash launch/supervise.sh"
    )
    mounts = run("launch/slurm.sh", "configs/tiny.py", DRY_RUN="1", CONTAINER="a.sqsh", MOUNTS="/a:/b").stdout
    assert "--container-mounts=/a:/b " in mounts
    apptainer = run("launch/slurm.sh", "configs/tiny.py", DRY_RUN="1", CONTAINER="apptainer:mtjax.sif").stdout
    assert f"0 apptainer exec --nv --bind {here} --pwd {here} mtjax.sif bash launch/supervise.sh" in apptainer


def test_slurm_gets_as_far_as_the_program(tmp_path):
    for name, body in {"srun": 'shift; SLURM_PROCID=1 exec "$@"', "python": 'echo "$SLURM_PROCID: $*"'}.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    said = run("launch/slurm.sh", "configs/tiny.py", "a b", PATH=f"{tmp_path}:{os.environ['PATH']}")
    assert said.stdout == "1: -m mtjax.train configs/tiny.py a b\n", said.stderr


@pytest.mark.parametrize(
    ("code", "state", "more", "requeued"),
    [
        (75, "RUNNING", {}, True),
        (143, "RUNNING", {}, True),
        (75, "COMPLETING", {}, False),  # cancelled by its user
        (75, "RUNNING", {"REQUEUE": "0"}, False),
        (0, "RUNNING", {}, False),
        (2, "RUNNING", {}, False),
    ],
)
def test_slurm_requeues_a_job_that_was_stopped_and_saved(tmp_path, code, state, more, requeued):
    for name, body in {
        "scontrol": f'[[ $1 == show ]] && echo gpu-1 || echo "$@" >> {tmp_path}/asked',
        "squeue": f"[[ $* == *--jobs=7* ]] && echo {state}",
        "srun": f"exit {code}",
    }.items():
        (tmp_path / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (tmp_path / name).chmod(0o755)
    settings = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "gpu-1", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    assert run("launch/slurm.sh", "configs/tiny.py", **settings, **more).returncode == code
    asked = tmp_path / "asked"
    assert (asked.read_text() if asked.exists() else "") == ("requeue 7\n" if requeued else "")


def test_tpu_vm_says_what_it_would_run_on_every_worker(tmp_path):
    said = run("launch/tpu_vm.sh", "slice", "us-east5-a", "configs/tiny.py", "--run_dir=a b", DRY_RUN="1")
    assert said.stdout.startswith("gcloud compute tpus tpu-vm ssh slice --zone=us-east5-a --worker=all --command=")
    worker = said.stdout.partition("--command=")[2]
    (tmp_path / "python3").write_text('#!/usr/bin/env bash\necho "$*"\n')
    (tmp_path / "python3").chmod(0o755)
    (tmp_path / "mtjax").symlink_to(pathlib.Path.cwd())
    found = subprocess.run(
        ["bash", "-c", worker],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert found.stdout == "-m mtjax.train configs/tiny.py --run_dir=a b\n", found.stderr


GCLOUD = """#!/usr/bin/env bash
echo "$*" >> {log}
case $* in
  *describe*) n=$(grep -c describe {log}); case $n in 1) echo WAITING_FOR_RESOURCES ;; *) echo ACTIVE ;; esac ;;
  *mtjax.train*) n=$(grep -c mtjax.train {log}); [[ $n == 1 ]] && exit 255; exit {last} ;;
esac
"""


@pytest.mark.parametrize("last", [0, 2])
def test_a_spot_slice_is_asked_for_again_after_a_preemption(tmp_path, last):
    """With a stand-in for gcloud, whose connection breaks in the first run; a second one ends."""
    log = tmp_path / "log"
    (tmp_path / "gcloud").write_text(GCLOUD.format(log=log, last=last))
    (tmp_path / "gcloud").chmod(0o755)
    settings = {"SPOT": "v5p-64", "VERSION": "v2-alpha-tpuv5", "POLL": "0", "PATH": f"{tmp_path}:{os.environ['PATH']}"}
    said = run("launch/tpu_vm.sh", "slice", "us-east5-a", "configs/tiny.py", **settings)
    assert said.returncode == last
    assert "tpu_vm: exit code 255; start 2 of 20" in said.stderr
    asked = [re.search(r"create|describe|scp|pip install|mkdir|mtjax.train|delete", line)[0] for line in
             log.read_text().splitlines()]  # fmt: skip
    once = ["mkdir", "scp", "pip install", "mtjax.train", "delete"]
    assert asked == ["create", "describe", "describe", *once, "create", "describe", *once]
    assert "--spot --accelerator-type=v5p-64 --runtime-version=v2-alpha-tpuv5" in log.read_text()
    without = run("launch/tpu_vm.sh", "slice", "zone", "configs/tiny.py", **settings | {"VERSION": ""})
    assert without.returncode != 0
    assert "VERSION: the runtime, such as v2-alpha-tpuv5" in without.stderr


POD = {"restartPolicy": str, "terminationGracePeriodSeconds": int, "nodeSelector": dict, "containers": [dict]}
FAIL_JOB = {"action": str, "onExitCodes": {"containerName": str, "operator": str, "values": [int]}}
JOB = {"parallelism": int, "completions": int, "completionMode": str, "backoffLimit": int, "template": {"spec": POD}}
JOB |= {"podFailurePolicy": {"rules": [FAIL_JOB]}}
JOBSET = {
    "apiVersion": str,
    "kind": str,
    "metadata": {"name": str, "annotations": dict},
    "spec": {
        "failurePolicy": {"maxRestarts": int, "rules": [{"action": str, "onJobFailureReasons": [str]}]},
        "replicatedJobs": [{"name": str, "replicas": int, "template": {"spec": JOB}}],
    },
}
CONTAINER = {"name": str, "image": str, "command": [str], "args": [str], "ports": [{"containerPort": int}]}
CONTAINER |= {"resources": {"limits": dict}}
SKY = {
    "name": str,
    "num_nodes": int,
    "resources": {"accelerators": str, "job_recovery": {"recover_on_exit_codes": [int]}},
    "workdir": str,
    "envs": dict,
}
SKY |= {"setup": str, "run": str}


def conforms(value, schema, where=""):
    """The value has the schema's keys, no others, and its types."""
    if isinstance(schema, dict):
        assert isinstance(value, dict), where
        assert value.keys() == schema.keys(), where
        for name, inner in schema.items():
            conforms(value[name], inner, f"{where}.{name}")
    elif isinstance(schema, list):
        assert isinstance(value, list), where
        assert value, where
        for number, item in enumerate(value):
            conforms(item, schema[0], f"{where}[{number}]")
    else:
        assert isinstance(value, schema), where


def test_the_jobset_conforms_and_its_pods_find_each_other():
    jobset = yaml.safe_load((LAUNCH / "gke.yaml").read_text())
    conforms(jobset, JOBSET)
    assert (jobset["kind"], jobset["apiVersion"]) == ("JobSet", "jobset.x-k8s.io/v1alpha2")
    (job,) = jobset["spec"]["replicatedJobs"]
    spec = job["template"]["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    conforms(container, CONTAINER)
    # JAX counts the slice's hosts in TPU_WORKER_HOSTNAMES, which GKE fills from the pods of an indexed Job.
    assert spec["parallelism"] == spec["completions"]
    # A stop that saved fails the Job, whose JobSet restarts it; what a restart cannot change fails the JobSet.
    (rule,) = spec["podFailurePolicy"]["rules"]
    assert not {ExitCode.STOPPED, ExitCode.TERMINATED, ExitCode.HOST_LOST, 137} & set(rule["onExitCodes"]["values"])
    assert {ExitCode.BAD_INPUT, ExitCode.NON_FINITE, ExitCode.STORAGE} <= set(rule["onExitCodes"]["values"])
    assert rule["onExitCodes"]["containerName"] == container["name"]
    assert spec["completionMode"] == "Indexed"
    ports = [entry["containerPort"] for entry in container["ports"]]
    assert ports == [int(cloud_tpu_cluster.coordinator_port), int(cloud_tpu_cluster.coordinator_port) + 1]
    assert pathlib.Path(container["command"][1]).exists()


def test_the_sky_file_conforms():
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    conforms(task, SKY)
    assert task["resources"]["job_recovery"]["recover_on_exit_codes"] == [ExitCode.STOPPED, ExitCode.TERMINATED]
    script = task["run"].replace("python -m", "echo $MTJAX_HOSTS $MTJAX_HOST $MTJAX_COORDINATOR")
    said = run(
        "bash",
        "-c",
        script,
        SKYPILOT_NUM_NODES="2",
        SKYPILOT_NODE_RANK="1",
        SKYPILOT_NODE_IPS="10.0.0.7\n10.0.0.8",
        **task["envs"],
    )
    assert said.stdout.startswith("2 1 10.0.0.7:23456"), said.stderr


def test_the_image_is_linted():
    """Neither the engine nor a base image is here, so it is not built."""
    checked = run(pathlib.Path(sys.executable).with_name("hadolint"), LAUNCH / "gpu.Dockerfile")
    assert checked.returncode == 0, checked.stdout


@pytest.mark.parametrize("extra", ["cuda12", "tpu"])
def test_the_image_installs_an_extra_that_exists_under_its_pins(extra):
    """Its one line of `pip`, for GPUs as it is and for TPUs as its header says."""
    text = (LAUNCH / "gpu.Dockerfile").read_text()
    assert f"ARG EXTRA={extra}" in text or f"--build-arg EXTRA={extra}" in text
    assert extra in tomllib.loads(pathlib.Path("pyproject.toml").read_text())["project"]["optional-dependencies"]
    (version,) = re.findall(r"^FROM python:(\d+\.\d+)-slim$", text, re.M)
    (pins,) = re.findall(r"install.* -c (\S+)", text)
    assert pins == f".ci/constraints-{version}.txt"


def test_what_is_installed_has_the_clients_of_the_buckets_that_are_written_to():
    """The commands of the headers keep checkpoints in gs:// or s3://."""
    installed = {
        "gpu.Dockerfile": (LAUNCH / "gpu.Dockerfile").read_text(),  # the image of gke.yaml
        "tpu_vm.sh": run("launch/tpu_vm.sh", "slice", "zone", "--install", DRY_RUN="1").stdout,
        "skypilot.yaml": yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())["setup"],
    }
    for name, text in installed.items():
        (extras,) = re.findall(r"pip install .*\.\[(.*)\]", text)
        assert "gcs" in extras.split(","), name
        assert "s3" in extras.split(",") or "s3://" not in (LAUNCH / name).read_text()


def test_the_image_copies_what_exists():
    text = (LAUNCH / "gpu.Dockerfile").read_text()
    names = [name for line in re.findall(r"^COPY (.*) \S+$", text, re.M) for name in line.split()]
    assert names
    assert all(pathlib.Path(name).exists() for name in names), names


def supervised(tmp_path, body, *more):
    """The supervisor around a command that knows how often it was started."""
    count = tmp_path / "count"
    script = f"echo x >> {count}; n=$(wc -l < {count}); {body}"
    return ["launch/supervise.sh", *more, "bash", "-c", script], count


def test_the_supervisor_starts_again_after_a_loss_and_not_after_an_error(tmp_path):
    command, count = supervised(tmp_path, "case $n in 1) exit 6 ;; 2) kill -9 $$ ;; *) exit 0 ;; esac")
    said = run(*command)
    assert said.returncode == 0
    assert len(count.read_text().split()) == 3
    assert "exit code 6; start 2 of 21" in said.stderr
    assert "exit code 137; start 3 of 21" in said.stderr
    count.unlink()
    for code in (2, 5, 7, 75, 127, 143):
        command, count = supervised(tmp_path, f"exit {code}")
        assert run(*command).returncode == code
        assert len(count.read_text().split()) == 1
        count.unlink()
    command, count = supervised(tmp_path, "exit 6", "--restarts", "1")
    said = run(*command)
    assert (said.returncode, len(count.read_text().split())) == (6, 2)
    assert "given up after 1 restarts" in said.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGTERM, 75), (signal.SIGINT, 130)])
def test_the_supervisor_passes_a_signal_on_and_ends(tmp_path, sent, code):
    # The child saves for a moment, then ends with 75.
    command, count = supervised(tmp_path, "trap 'sleep 0.3; exit 75' TERM; while true; do sleep 0.05; done")
    # A shell cannot trap a signal that it was started without, as SIGINT is where a suite runs in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command)
    signal.signal(signal.SIGINT, before)
    while not count.exists():
        time.sleep(0.01)
    time.sleep(0.2)
    process.send_signal(sent)
    assert process.wait(20) == code
    assert len(count.read_text().split()) == 1


OUTCOMES = {  # what a process ends with, and what must become of the job
    **dict.fromkeys((75, 143), "again"),
    **dict.fromkeys((2, 3, 4, 5, 7, 126, 127, 130), "failed"),
    0: "complete",
}


def stand_in(tmp_path, code):
    """A folder with a `python` that notes its words and environment and ends with a code; the PATH that finds it."""
    (tmp_path / "python").write_text(
        f'#!/usr/bin/env bash\necho "$MTJAX_HOSTS $MTJAX_HOST $MTJAX_COORDINATOR: $*"\nexit {code}\n'
    )
    (tmp_path / "python").chmod(0o755)
    return f"{tmp_path}:{os.environ['PATH']}"


@pytest.mark.parametrize(("code", "becomes"), OUTCOMES.items())
def test_gke_restarts_what_was_stopped_and_fails_what_a_restart_cannot_change(tmp_path, code, becomes):
    """The pod's own command with a stand-in for Python, and the rules of JobSet and Job on the code it ends with."""
    spec = yaml.safe_load((LAUNCH / "gke.yaml").read_text())["spec"]
    job = spec["replicatedJobs"][0]["template"]["spec"]
    pod = job["template"]["spec"]["containers"][0]
    said = run(*pod["command"], *pod["args"], PATH=stand_in(tmp_path, code))
    assert said.stdout.endswith(f"-m mtjax.train {' '.join(pod['args'])}\n")
    (rule,) = (each["onExitCodes"] for each in job["podFailurePolicy"]["rules"] if each["action"] == "FailJob")
    assert rule["containerName"] == pod["name"]
    fails_job = said.returncode in rule["values"]
    # A Job that fails by this policy fails the JobSet; one that fails otherwise restarts it.
    (at_once,) = (
        each["onJobFailureReasons"] for each in spec["failurePolicy"]["rules"] if each["action"] == "FailJobSet"
    )
    assert (job["backoffLimit"], at_once) == (0, ["PodFailurePolicy"])
    assert spec["failurePolicy"]["maxRestarts"] > 0
    found = "complete" if said.returncode == 0 else "failed" if fails_job else "again"
    assert found == becomes


@pytest.mark.parametrize(("code", "becomes"), OUTCOMES.items())
def test_skypilot_recovers_what_was_stopped(tmp_path, code, becomes):
    """The task's own script with a stand-in for Python, and the rule of managed jobs on the code it ends with."""
    task = yaml.safe_load((LAUNCH / "skypilot.yaml").read_text())
    settings = {"SKYPILOT_NUM_NODES": "2", "SKYPILOT_NODE_RANK": "1", "SKYPILOT_NODE_IPS": "10.0.0.1\n10.0.0.2"}
    settings |= task["envs"] | {"MORE": "--checkpoint.folder=s3://b/r"}
    said = run("bash", "-c", task["run"], PATH=stand_in(tmp_path, code), **settings)
    assert said.stdout == "2 1 10.0.0.1:23456: -m mtjax.train configs/tiny.py --checkpoint.folder=s3://b/r\n"
    again = said.returncode in task["resources"]["job_recovery"]["recover_on_exit_codes"]
    assert ("complete" if said.returncode == 0 else "again" if again else "failed") == becomes

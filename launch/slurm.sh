#!/usr/bin/env bash
# A Slurm job with one process per node, which uses all GPUs of the node.
#
# Needs:    a cluster with Slurm; mtjax installed (`pip install '.[cuda12]'`) in an environment that every node can access
#           and that is active when you submit the job; a run_dir on a file system that all nodes share.
# Command:  sbatch --nodes=4 --gpus-per-node=8 launch/slurm.sh CONFIG --run_dir=/shared/run ...
#           Run it in the root folder of the repository. DRY_RUN=1 launch/slurm.sh CONFIG prints the command instead.
#           In a container (an image of launch/gpu.Dockerfile) with CONTAINER=IMAGE, through Pyxis and Enroot, such as
#           CONTAINER=/shared/mtjax.sqsh MOUNTS=/shared:/shared,$PWD:$PWD, or with CONTAINER=apptainer:mtjax.sif.
#           COMMAND=rounds (or mine, evaluate, generate) starts that instead of train, with its words.
#           JAX_COORDINATOR_PORT=PORT chooses the port where that of the job's number is taken.
# Expect:   in slurm-<job>.out
#             hosts    4, by JAX from Slurm (SLURM_JOB_ID=7, SLURM_NTASKS=4, ...)
#             devices  32 x NVIDIA H100 80GB HBM3 on 4 hosts, mesh {...}
#           Slurm sends SIGTERM two minutes before the time limit. All nodes then save, and the script requeues the job,
#           which resumes. REQUEUE=0 ends it with code 75 instead (143 if nothing was saved), so that jobs that wait
#           with --dependency=afterok do not start. launch/supervise.sh restarts a lost process. If a node is lost, Slurm
#           requeues the job.
#SBATCH --job-name=mtjax
#SBATCH --ntasks-per-node=1
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -eu
[[ $# -gt 0 && $1 != --help && $1 != -h ]] || { sed -n '2,/^#SBATCH/s/^# \{0,1\}//p' "$0"; exit 2; }
case ${COMMAND:=train} in
  train | rounds | mine | evaluate | generate) ;;
  *) echo "error: COMMAND='$COMMAND': expected train, rounds, mine, evaluate or generate" >&2; exit 2 ;;
esac

# Every task finds its number and the first node in the variables of srun, as JAX does (mtjax/distributed/clusters.py).
command=(srun --kill-on-bad-exit=0)
case ${CONTAINER-} in
  '') ;;
  apptainer:*) inside=(apptainer exec --nv --bind "$PWD" --pwd "$PWD" "${CONTAINER#apptainer:}") ;;
  *) command+=(--container-image="$CONTAINER" --container-mounts="${MOUNTS:-$PWD:$PWD}" --container-workdir="$PWD") ;;
esac
command+=(${inside[@]+"${inside[@]}"} bash launch/supervise.sh python -m "mtjax.$COMMAND" "$@")
if [[ -n ${DRY_RUN-} ]]; then
  echo "${command[*]}"
  exit 0
fi
code=0
"${command[@]}" || code=$?
# Stopped by SIGTERM while the job itself was not cancelled: the time limit is near.
if [[ $code == 75 || $code == 143 ]] && [[ ${REQUEUE-1} != 0 ]] &&
  [[ $(squeue --noheader --jobs="$SLURM_JOB_ID" --format=%T) == RUNNING ]]; then
  scontrol requeue "$SLURM_JOB_ID"
fi
exit "$code"

#!/usr/bin/env bash
# A Slurm job with one process per node, which uses all GPUs of the node.
#
# Needs:    a cluster with Slurm; mtjax installed (`pip install '.[cuda12]'`) in an environment that every node can access
#           and that is active when you submit the job; a run_dir on a file system that all nodes share.
# Command:  sbatch --nodes=4 --gpus-per-node=8 launch/slurm.sh CONFIG --run_dir=/shared/run ...
#           Run it in the root folder of the repository. DRY_RUN=1 launch/slurm.sh CONFIG prints the command instead.
# Expect:   in slurm-<job>.out
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

if [[ -n ${DRY_RUN-} ]]; then
  first=${FIRST_NODE:-first-node}
else
  first=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
fi
export MTJAX_HOSTS=${SLURM_JOB_NUM_NODES:-1}
# Jobs that share a node need different ports. These are below the range of ephemeral ports on Linux.
export MTJAX_COORDINATOR=$first:$((20000 + ${SLURM_JOB_ID:-0} % 6000 * 2))
# srun gives each task its number in SLURM_PROCID.
# shellcheck disable=SC2016  # the variables are the task's
task='MTJAX_HOST=$SLURM_PROCID exec bash launch/supervise.sh python -m mtjax.train "$@"'
command=(srun --kill-on-bad-exit=0 bash -c "$task" mtjax "$@")
if [[ -n ${DRY_RUN-} ]]; then
  echo "MTJAX_HOSTS=$MTJAX_HOSTS MTJAX_COORDINATOR=$MTJAX_COORDINATOR ${command[*]}"
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

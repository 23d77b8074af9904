#!/usr/bin/env bash
# A Cloud TPU slice, with one process on each of its virtual machines.
#
# Needs:    gcloud, signed in; a running TPU VM, for example
#             gcloud compute tpus tpu-vm create NAME --zone=ZONE --accelerator-type=v5p-64 --version=v2-alpha-tpuv5
#           This command copies the repository to ~/mtjax on every worker and runs `pip install '.[tpu]'` there:
#             launch/tpu_vm.sh NAME ZONE --install
#           All workers must be able to write to the checkpoint folder.
# Command:  launch/tpu_vm.sh NAME ZONE CONFIG --checkpoint.folder=gs://BUCKET/RUN ...
#           DRY_RUN=1 launch/tpu_vm.sh ... prints the command instead. The script stays connected, so run it in tmux or
#           with nohup.
# Expect:   from worker 0
#             hosts    8, by JAX from a Cloud TPU slice
#             devices  32 x TPU v5 on 8 hosts, mesh {...}
#           launch/supervise.sh restarts a lost process on its worker. After a preemption (exit code 75 or 143), create
#           the slice again and run the same command: the run resumes from the bucket.
set -eu
[[ $# -gt 2 ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 2; }
name=$1 zone=$2
shift 2

if [[ $1 == --install ]]; then
  root=$(cd "$(dirname "$0")/.." && pwd)
  run=(gcloud compute tpus tpu-vm scp --recurse --worker=all --zone="$zone" "$root/mtjax" "$root/launch" "$root/configs"
    "$root/pyproject.toml" "$root/README.md" "$name:mtjax/")
  install="cd mtjax && pip install -q '.[tpu]'"
  make=(gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="mkdir -p mtjax")
  then=(gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="$install")
  if [[ -n ${DRY_RUN-} ]]; then
    printf '%s\n' "${make[*]}" "${run[*]}" "${then[*]}"
    exit 0
  fi
  "${make[@]}" && "${run[@]}" && exec "${then[@]}"
fi

# Every worker asks the metadata server for its number and the others, as JAX does (mtjax/distributed/clusters.py).
words=$(printf ' %q' "$@")
command=(gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all
  --command="cd mtjax && bash launch/supervise.sh python3 -m mtjax.train$words")
if [[ -n ${DRY_RUN-} ]]; then
  printf '%s\n' "${command[*]}"
  exit 0
fi
exec "${command[@]}"

#!/usr/bin/env bash
# A Cloud TPU slice, with one process on each of its virtual machines.
#
# Needs:    gcloud, signed in; a running TPU VM, for example
#             gcloud compute tpus tpu-vm create NAME --zone=ZONE --accelerator-type=v5p-64 --version=v2-alpha-tpuv5
#           This command copies the repository to ~/mtjax on every worker and runs `pip install '.[tpu,gcs]'` there:
#             launch/tpu_vm.sh NAME ZONE --install
#           All workers must be able to write to the checkpoint folder.
# Command:  launch/tpu_vm.sh NAME ZONE CONFIG --checkpoint.folder=gs://BUCKET/RUN ...
#           COMMAND=rounds (or mine, evaluate, generate) starts that instead of train, with its words.
#           DRY_RUN=1 launch/tpu_vm.sh ... prints the commands instead. The script stays connected, so run it in tmux or
#           with nohup.
#           Spot TPUs through a queued resource, requested, installed and started again after each preemption:
#             SPOT=v5p-64 VERSION=v2-alpha-tpuv5 launch/tpu_vm.sh NAME ZONE CONFIG --checkpoint.folder=gs://BUCKET/RUN ...
#           STARTS=20 is how often it asks for the slice at most. Several slices: ask for a queued resource with
#           --node-count yourself; JAX then reads MEGASCALE_... from each worker's metadata.
# Expect:   from worker 0
#             hosts    8, by JAX from a Cloud TPU slice
#             devices  32 x TPU v5 on 8 hosts, mesh {...}
#           launch/supervise.sh restarts a lost process on its worker. After a preemption (exit code 75, 143, or 255 where
#           the connection is gone) the run resumes from the bucket: with SPOT by itself, else create the slice again
#           and run the same command.
set -eu
[[ $# -gt 2 ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 2; }
case ${COMMAND:=train} in
  train | rounds | mine | evaluate | generate) ;;
  *) echo "error: COMMAND='$COMMAND': expected train, rounds, mine, evaluate or generate" >&2; exit 2 ;;
esac
name=$1 zone=$2
shift 2

run_or_print() {
  if [[ -n ${DRY_RUN-} ]]; then printf '%s\n' "$*"; else "$@"; fi
}

install() {
  local root
  root=$(cd "$(dirname "$0")/.." && pwd)
  run_or_print gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="mkdir -p mtjax" &&
    run_or_print gcloud compute tpus tpu-vm scp --recurse --worker=all --zone="$zone" "$root/mtjax" "$root/launch" \
      "$root/configs" "$root/pyproject.toml" "$root/README.md" "$name:mtjax/" &&
    run_or_print gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all \
      --command="cd mtjax && pip install -q '.[tpu,gcs]'"
}

if [[ $1 == --install ]]; then
  install
  exit
fi

# Every worker asks the metadata server for its number and the others, as JAX does (mtjax/distributed/clusters.py).
words=$(printf ' %q' "$@")
command=(gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all
  --command="cd mtjax && bash launch/supervise.sh python3 -m mtjax.$COMMAND$words")
if [[ -z ${SPOT-} ]]; then
  run_or_print "${command[@]}"
  exit
fi

# A queued resource waits for capacity, and ends when its slice is preempted: delete it, and ask again.
for ((start = 1; start <= ${STARTS:-20}; start++)); do
  code=0
  run_or_print gcloud compute tpus queued-resources create "$name" --node-id="$name" --zone="$zone" --spot \
    --accelerator-type="$SPOT" --runtime-version="${VERSION:?the runtime, such as v2-alpha-tpuv5}"
  until state=$(run_or_print gcloud compute tpus queued-resources describe "$name" --zone="$zone" \
    --format='value(state.state)') && [[ ! $state =~ CREATING|ACCEPTED|WAITING|PROVISIONING ]]; do
    sleep "${POLL:-30}"
  done
  [[ -z ${DRY_RUN-} ]] || printf '%s\n' "$state"
  if [[ -n ${DRY_RUN-} || $state == *ACTIVE* ]]; then
    install && run_or_print "${command[@]}" || code=$?
  else
    code=255
  fi
  run_or_print gcloud compute tpus queued-resources delete "$name" --zone="$zone" --force --quiet
  case $code in 0 | 2 | 3 | 4 | 5 | 7 | 126 | 127 | 130) exit "$code" ;; esac
  echo "tpu_vm: exit code $code; start $((start + 1)) of ${STARTS:-20}" >&2
done
exit "$code"

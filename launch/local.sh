#!/usr/bin/env bash
# Several hosts as processes on this machine, to test a launch or to run one process per group of devices.
#
# Needs:    mtjax in .venv, where `make setup` installs it; otherwise in the interpreter `python` or PYTHON=...
#           All traffic stays on 127.0.0.1.
# Command:  launch/local.sh --hosts 2 --devices 4 -- configs/tiny.py --mesh.data=2 --mesh.fsdp=4
#           --devices N simulates N CPU devices per process. --supervise restarts all processes when one dies.
#           --dry-run prints the commands without running them. COMMAND=rounds (or mine, evaluate, generate) starts that
#           instead of train, with its words.
# Expect:   the output of host 0, such as
#             devices  8 x cpu on 2 hosts, mesh {'data': 2, 'fsdp': 4, ...}
#             step 1/60  loss 3.6898 ...
#           The exit code is that of the first host that failed, or 0. On SIGTERM all hosts save and exit with code 75
#           (143 if nothing was saved), on Ctrl-C with 130.
set -u
here=$(cd "$(dirname "$0")" && pwd)
hosts=2 devices='' supervise=() dry=''
while [[ $# -gt 0 ]]; do
  case $1 in
    --hosts | --devices)
      [[ ${2-} =~ ^[1-9][0-9]*$ ]] || { echo "error: $1 '${2-}': expected a whole number, 1 or more" >&2; exit 2; }
      if [[ $1 == --hosts ]]; then hosts=$2; else devices=$2; fi
      shift 2 ;;
    --supervise) supervise=("$here/supervise.sh"); shift ;;
    --dry-run) dry=1; shift ;;
    --help | -h) shift $# ;;
    --) shift; break ;;
    -*) echo "error: $1: expected --hosts, --devices, --supervise, --dry-run or the config; see --help" >&2; exit 2 ;;
    *) break ;;
  esac
done
[[ $# -gt 0 ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 2; }
case ${COMMAND:=train} in
  train | rounds | mine | evaluate | generate) ;;
  *) echo "error: COMMAND='$COMMAND': expected train, rounds, mine, evaluate or generate" >&2; exit 2 ;;
esac

# Two adjacent free ports: one for mtjax's connection between hosts, the next for JAX's distributed service.
is_taken() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }
port=$((20000 + RANDOM % 12000))
while is_taken "$port" || is_taken $((port + 1)); do port=$((20000 + RANDOM % 12000)); done
export MTJAX_HOSTS=$hosts MTJAX_COORDINATOR=${MTJAX_COORDINATOR:-127.0.0.1:$port}
if [[ -n $devices ]]; then
  export JAX_PLATFORMS=cpu XLA_FLAGS="${XLA_FLAGS-} --xla_force_host_platform_device_count=$devices"
fi

python=$here/../.venv/bin/python
[[ -x $python ]] || python=python
command=(${supervise[@]+"${supervise[@]}"} "${PYTHON:-$python}" -m "mtjax.$COMMAND" "$@")
if [[ -n $dry ]]; then
  for ((host = 0; host < hosts; host++)); do
    echo "MTJAX_HOSTS=$hosts MTJAX_HOST=$host MTJAX_COORDINATOR=$MTJAX_COORDINATOR ${command[*]}"
  done
  exit 0
fi

children=()
interrupted=''
# shellcheck disable=SC2329  # the traps call it
stop() { kill -TERM "${children[@]}" 2>/dev/null; }
trap stop TERM
trap 'interrupted=1; stop' INT
for ((host = 0; host < hosts; host++)); do
  MTJAX_HOST=$host "${command[@]}" &
  children+=($!)
done
failed=0
for child in "${children[@]}"; do
  while true; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  if ((failed == 0)); then failed=$code; fi
done
if [[ -n $interrupted ]]; then case $failed in 0 | 75 | 143) failed=130 ;; esac; fi
exit "$failed"

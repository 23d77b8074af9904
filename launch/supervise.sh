#!/usr/bin/env bash
# Run the process of one host, and restart it after a host was lost.
#
# Needs:    bash. Every host runs this script with the same command. The other launchers in this folder do so.
# Command:  launch/supervise.sh [--restarts N] python -m mtjax.train CONFIG ...
# Expect:   no output of the script, unless a process ends with an error:
#             supervise: exit code 137; start 2 of 21 in 2 s
#           When one host is lost, all others exit within the heartbeat (code 6). They all restart, connect again, and
#           resume from the last complete checkpoint.
#
# The script does not restart after exit codes that a restart cannot change: 0 finished, 2 invalid input, 3 does not
# fit, 4 lint, 5 non-finite loss, 7 storage, 126 and 127 command not found; nor after a stop that someone asked for: 75 saved
# after SIGTERM, 143 SIGTERM before anything was saved, 130 Ctrl-C. What started this script acts on those (a scheduler
# runs the command again). It also stops after N restarts (default 20) without a process that ran for ten minutes. It
# exits with the code of the last process.
# SIGTERM is forwarded to the process, which is then not restarted. Ctrl-C is forwarded as SIGTERM, with exit code 130.
set -u
restarts=20
if [[ ${1-} == --restarts ]]; then
  restarts=${2-}
  [[ $restarts =~ ^[0-9]+$ ]] || { echo "error: --restarts '$restarts': expected a whole number, 0 or more" >&2; exit 2; }
  shift 2
fi
[[ $# -gt 0 && $1 != --help && $1 != -h ]] || { sed -n '2,/^[^#]/s/^# \{0,1\}//p' "$0"; exit 2; }

stopping='' interrupted='' child=''
# shellcheck disable=SC2329  # the traps call it
pass_on() {
  stopping=1
  [[ -z $child ]] || kill -TERM "$child" 2>/dev/null
}
trap pass_on TERM
trap 'interrupted=1; pass_on' INT

tried=0
while true; do
  began=$SECONDS
  "$@" &
  child=$!
  [[ -z $stopping ]] || kill -TERM "$child" 2>/dev/null
  # A signal interrupts `wait`: repeat it until the child has exited.
  while true; do
    wait "$child"
    code=$?
    kill -0 "$child" 2>/dev/null || break
  done
  child=''
  if [[ -n $interrupted ]]; then case $code in 0 | 75 | 143) code=130 ;; esac; fi
  case $code in 0 | 2 | 3 | 4 | 5 | 7 | 75 | 126 | 127 | 130 | 143) exit "$code" ;; esac
  [[ -z $stopping ]] || exit "$code"
  if ((SECONDS - began > 600)); then tried=0; fi
  tried=$((tried + 1))
  if ((tried > restarts)); then
    echo "supervise: exit code $code; given up after $restarts restarts" >&2
    exit "$code"
  fi
  pause=$((tried < 5 ? 2 : 15))
  echo "supervise: exit code $code; start $((tried + 1)) of $((restarts + 1)) in $pause s" >&2
  sleep "$pause" &
  child=$!
  wait "$child"
  child=''
  [[ -z $stopping ]] || exit "$code"
done

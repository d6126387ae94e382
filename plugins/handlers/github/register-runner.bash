#!/usr/bin/env bash
# Registers the runner in $RUNNER_HOME of the guest at GitHub, for one job.
#
# Runs in the guest: register-runner.bash NAME TOKEN URL LABELS [GROUP], labels separated by commas.
set -euo pipefail

if [ $# -lt 4 ] || [ -z "$1" ] || [ -z "$2" ] || [ -z "$3" ] || [ -z "$4" ]; then
  echo "usage: register-runner.bash NAME TOKEN URL LABELS [GROUP]" >&2
  exit 2
fi

RUNNER_HOME="${RUNNER_HOME:-$HOME/actions-runner}"
cd "$RUNNER_HOME"

options=(--unattended --ephemeral --disableupdate --no-default-labels
  --name "$1" --token "$2" --url "$3" --labels "$4")
if [ -n "${5:-}" ]; then
  options+=(--runnergroup "$5")
fi

./config.sh "${options[@]}"
echo "runner configured"

#!/usr/bin/env bash
# Starts the registered runner in $RUNNER_HOME of the guest so that it outlives this script.
#
# Runs in the guest without arguments.
set -euo pipefail

RUNNER_HOME="${RUNNER_HOME:-$HOME/actions-runner}"
cd "$RUNNER_HOME"

if [ -x ./svc.sh ]; then
  # A service of the guest's user: jobs need the login session for keychains and simulators.
  ./svc.sh install
  ./svc.sh start
else
  nohup ./run.sh >runner.log 2>&1 </dev/null &
fi
echo "runner started"

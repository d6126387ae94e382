#!/usr/bin/env bash
# Starts the runner in $RUNNER_HOME of the guest so that it outlives this script.
#
# Runs in the guest without arguments. With `registration_mode: jit` Anklet sets
#   ACTIONS_RUNNER_INPUT_JITCONFIG   the runner's single-use configuration, which run.sh takes by itself
# Otherwise register-runner.bash has configured the runner before.
set -euo pipefail

RUNNER_HOME="${RUNNER_HOME:-$HOME/actions-runner}"
cd "$RUNNER_HOME"

# Starts run.sh with the configuration as a service of the guest's user, as svc.sh would, which only config.sh makes.
start_with_configuration() {
  local label=anklet.runner
  umask 077
  mkdir -p _diag
  # launchd hands no environment on: the configuration waits in a file until the service has read it.
  printf '%s\n' "$ACTIONS_RUNNER_INPUT_JITCONFIG" >.jitconfig
  unset ACTIONS_RUNNER_INPUT_JITCONFIG
  cat >run-once.sh <<SCRIPT
#!/usr/bin/env bash
export PATH=$(printf '%q' "$PATH")
cd "\$(dirname "\$0")"
IFS= read -r ACTIONS_RUNNER_INPUT_JITCONFIG <.jitconfig
rm -f .jitconfig
export ACTIONS_RUNNER_INPUT_JITCONFIG
exec ./run.sh
SCRIPT
  chmod 700 run-once.sh
  cat >"$label.plist" <<PLIST
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">
<plist version="1.0">
<dict>
  <key>Label</key><string>$label</string>
  <key>ProgramArguments</key><array><string>$(escaped "$PWD/run-once.sh")</string></array>
  <key>WorkingDirectory</key><string>$(escaped "$PWD")</string>
  <key>StandardOutPath</key><string>$(escaped "$PWD/_diag/run.log")</string>
  <key>StandardErrorPath</key><string>$(escaped "$PWD/_diag/run.log")</string>
  <key>RunAtLoad</key><true/>
  <key>ProcessType</key><string>Interactive</string>
  <key>SessionCreate</key><true/>
</dict>
</plist>
PLIST
  if launchctl bootstrap "gui/$UID" "$PWD/$label.plist" 2>/dev/null; then
    echo "runner started by launchd"
  else
    # Nobody is logged in at the guest's screen.
    ignore_hangup
    ./run-once.sh >_diag/run.log 2>&1 </dev/null &
    echo "runner started without a login session"
  fi
}

# What is started from here on outlives a hangup. `nohup` would do it only once it runs, and the hangup may come before.
ignore_hangup() {
  trap '' HUP
}

escaped() {
  sed -e 's/&/\&amp;/g' -e 's/</\&lt;/g' -e 's/>/\&gt;/g' <<<"$1"
}

if [ -n "${ACTIONS_RUNNER_INPUT_JITCONFIG:-}" ]; then
  start_with_configuration
elif [ -x ./svc.sh ]; then
  # A service of the guest's user: jobs need the login session for keychains and simulators.
  ./svc.sh install
  ./svc.sh start
else
  ignore_hangup
  ./run.sh >runner.log 2>&1 </dev/null &
fi
echo "runner started"

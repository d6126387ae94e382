#!/usr/bin/env bash
# Puts GitHub's runner program into $RUNNER_HOME of the guest.
#
# Runs in the guest without arguments. Anklet sets, when it knows them:
#   ANKLET_RUNNER_VERSION        the version that GitHub names now
#   ANKLET_RUNNER_URL_ARM64      where its archive lies (_X64: the one for Intel)
#   ANKLET_RUNNER_SHA256_ARM64   the archive's checksum (_X64 likewise)
# A runner that the template brought is used only if it is of that version: GitHub refuses old ones.
set -euo pipefail

RUNNER_HOME="${RUNNER_HOME:-$HOME/actions-runner}"
version="${ANKLET_RUNNER_VERSION:-}"
case "$(uname -m)" in
  x86_64 | x64)
    arch=x64
    url="${ANKLET_RUNNER_URL_X64:-}"
    sha256="${ANKLET_RUNNER_SHA256_X64:-}"
    ;;
  *)
    arch=arm64
    url="${ANKLET_RUNNER_URL_ARM64:-}"
    sha256="${ANKLET_RUNNER_SHA256_ARM64:-}"
    ;;
esac

mkdir -p "$RUNNER_HOME"
cd "$RUNNER_HOME"

if [ -x ./config.sh ] && [ -x ./bin/Runner.Listener ]; then
  present="$(./bin/Runner.Listener --version 2>/dev/null || true)"
  if [ -z "$version" ] || [ "$present" = "$version" ]; then
    echo "runner ${present:-of unknown version} from the template is used"
    exit 0
  fi
  echo "runner ${present:-of unknown version} from the template is replaced by $version"
fi

if [ -z "$url" ]; then
  latest="$(curl -fsSL --retry 3 -o /dev/null -w '%{url_effective}' https://github.com/actions/runner/releases/latest)"
  version="${latest##*/v}"
  url="https://github.com/actions/runner/releases/download/v$version/actions-runner-osx-$arch-$version.tar.gz"
fi

archive="$(mktemp "${TMPDIR:-/tmp}/actions-runner.XXXXXX")"
trap 'rm -f "$archive"' EXIT
curl -fsSL --retry 3 -o "$archive" "$url"

if [ -n "$sha256" ]; then
  if command -v shasum >/dev/null 2>&1; then
    actual="$(shasum -a 256 "$archive")"
  else
    actual="$(sha256sum "$archive")"
  fi
  if [ "${actual%% *}" != "$sha256" ]; then
    echo "the runner archive from $url has the checksum ${actual%% *} instead of $sha256" >&2
    exit 1
  fi
fi

tar -xzf "$archive"
echo "runner ${version:-} installed"

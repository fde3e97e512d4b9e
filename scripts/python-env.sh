#!/usr/bin/env bash
# Makes a virtual environment with packages from PyPI and prints its directory: scripts/python-env.sh NAME REQUIREMENT…
# Stands in target/python/NAME. Quick when it stands already; made anew when the requirements or the interpreter change.
# PYTHON names the interpreter (python3 unless set).
set -euo pipefail
[ $# -ge 1 ] || { echo "usage: $0 NAME REQUIREMENT…" >&2; exit 2; }
cd "$(dirname "$0")/.."

name=$1
shift
python=${PYTHON:-python3}

if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    # Debian ships neither with the interpreter alone.
    { apt-get update -qq && apt-get install -y -qq python3 python3-venv; } >&2
fi

env=$PWD/target/python/$name
mkdir -p "${env%/*}"
exec 9>"$env.lock"
flock 9

wanted=$("$python" -c 'import sys; print(sys.executable, sys.version)'; printf '%s\n' "$@")
if [ "$(cat "$env/requirements.stamp" 2>/dev/null)" != "$wanted" ]; then
    rm -rf "$env"
    "$python" -m venv "$env" >&2
    if [ $# -gt 0 ]; then
        "$env/bin/python" -m pip install --quiet --disable-pip-version-check "$@" >&2
    fi
    # Written last: an environment that was cut off while it was made has none.
    printf '%s\n' "$wanted" >"$env/requirements.stamp"
fi
echo "$env"

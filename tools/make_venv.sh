#!/usr/bin/env bash
# make_venv.sh PYTHON FOLDER: make a fresh virtual environment, or say in one line what is missing on this machine.
set -euo pipefail
python=$1 folder=$2

fail() { echo "make_venv: $1" >&2; exit 2; }

command -v "$python" >/dev/null || fail "there is no '$python'. Install Python 3.11 or newer (Debian: apt-get install python3 python3-venv)."
version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
  fail "'$python' is Python $version, but Flyweight needs 3.11 or newer. Name another one: make PYTHON=python3.12 ..."
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
  fail "Python $version comes without venv or ensurepip. Install them (Debian: apt-get install python$version-venv), then run make again."
"$python" -m venv --clear "$folder"

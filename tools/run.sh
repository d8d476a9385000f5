#!/bin/sh
# Makes the environment if it is not there, then runs one command of tools/build.py in it.
cd "$(dirname "$0")/.." || exit 1
python=$(sh tools/find_python.sh) || exit 1
"$python" tools/set_up.py || exit 1
exec .venv/bin/python -m tools.build "$@"

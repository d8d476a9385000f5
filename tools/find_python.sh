#!/bin/sh
# Prints the first Python 3.11 to 3.13 that can be run and can make a virtual environment. A name on the PATH is not
# enough: version managers leave names behind that fail when run, and some systems ship Python without venv.

usable() {
    "$1" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' >/dev/null 2>&1
}

for name in python3.11 python3.12 python3.13 python3 python; do
    remaining=$PATH:/usr/local/bin:/usr/bin:/opt/homebrew/bin
    while [ -n "$remaining" ]; do
        folder=${remaining%%:*}
        case $remaining in *:*) remaining=${remaining#*:} ;; *) remaining= ;; esac
        if [ -x "$folder/$name" ] && usable "$folder/$name"; then
            printf '%s\n' "$folder/$name"
            exit 0
        fi
    done
done
for version in 3.11 3.12 3.13; do
    for candidate in "${PYENV_ROOT:-$HOME/.pyenv}/versions/$version".*/bin/python; do
        if [ -x "$candidate" ] && usable "$candidate"; then
            printf '%s\n' "$candidate"
            exit 0
        fi
    done
done
echo "No Python 3.11, 3.12 or 3.13 with venv was found that runs: install one (on Debian: python3 and python3-venv) and try again." >&2
exit 1

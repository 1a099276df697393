#!/bin/sh
# Runs the smoke tests on a wheel with every supported Python that this machine has: those on PATH,
# and those of pyenv, whose shims on PATH work for the selected version only.
# Usage: sh tests/smoke/pythons.sh dist/NAME.whl
set -eu
wheel=$1
tested=""
for version in 3.11 3.12 3.13 3.14; do
    for python in "python$version" "$HOME/.pyenv/versions/$version".*/bin/python; do
        "$python" -c "import sys; sys.exit(sys.version_info[:2] != tuple(map(int, '$version'.split('.'))))" \
            2>/dev/null || continue
        echo "Python $version"
        home=".venv-pythons/$version"
        "$python" -m venv --clear "$home"
        "$home/bin/python" -m pip install -qq --disable-pip-version-check \
            --constraint requirements/dev.txt "$wheel[emulator,cli,agents]" pytest
        "$home/bin/pytest" tests/smoke
        tested="$tested $version"
        break
    done
done
test -n "$tested" || { echo "This machine has no supported Python."; exit 1; }
echo "Tested with Python$tested."

#!/usr/bin/env bash
# make_environment.sh PYTHON FOLDER: a virtual environment with the project (editable) and exactly the versions of
# constraints.txt. It is kept as long as the interpreter and the files it is made from stay the same.
set -euo pipefail
cd "$(dirname "$0")/.."
python=$1 folder=$2

if ! "$python" -c 'import sys; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' 2>/dev/null; then
    echo "mwr-hpc needs Python 3.11 or 3.12 (TensorFlow 2.18.1 and the pinned versions are made for them)," \
        "and '$python' is not one: install it, or say where it is: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi

exec 9>"$folder.lock" # two makes in one checkout: the second waits and finds the work done
flock 9
key=$({ "$python" -VV && cat constraints.txt setup.cfg "$0"; } | sha256sum | cut -c 1-16)
if [ "$(cat "$folder/made-from" 2>/dev/null)" != "$key" ]; then
    echo "making the environment in $folder (a few minutes)"
    rm -rf "$folder"
    "$python" -m venv "$folder"
    pip=("$folder/bin/python" -m pip -qq --disable-pip-version-check --no-input)
    "${pip[@]}" install -c constraints.txt setuptools wheel </dev/null
    "${pip[@]}" install -c constraints.txt --no-build-isolation -e '.[cpu,test]' </dev/null
    "${pip[@]}" check >/dev/null
    echo "$key" >"$folder/made-from"
fi

#!/usr/bin/env bash
# usage: run_tests.sh PYTHON
#
# The fast tests. Those on a real SLURM mostly wait for its nodes, so they run beside all others; their report comes last.
set -uo pipefail
python=$1

log=$(mktemp "${TMPDIR:-/tmp}/mwr-slurm-tests.XXXXXX")
"$python" -m pytest tests/slurm >"$log" 2>&1 &
slurm=$!
trap 'kill "$slurm" 2>/dev/null; wait "$slurm"; rm -f "$log"' EXIT

"$python" -m pytest --ignore=tests/slurm
others=$?
echo "waiting for the tests on SLURM"
wait "$slurm"
on_slurm=$?
cat "$log"
[ "$others" = 0 ] && [ "$on_slurm" = 0 ]

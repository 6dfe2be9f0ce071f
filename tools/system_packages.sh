#!/usr/bin/env bash
# system_packages.sh: installs, as root on Debian, what the tests need beside Python and is missing: a compiler for
# Horovod, and a SLURM that the tests start themselves. No service is started or left running.
set -euo pipefail

missing=()
want() { command -v "$1" >/dev/null || missing+=("$2"); } # PROGRAM PACKAGE
PATH=$PATH:/usr/sbin:/sbin
want g++ g++
want cmake cmake
want munged munge
want slurmctld slurmctld
want slurmd slurmd
want srun slurm-client
want ip iproute2
want shellcheck shellcheck
[ ${#missing[@]} -gt 0 ] || exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "missing: ${missing[*]}; as root on Debian 'make system-packages' installs them" >&2
    exit 1
fi

policy=/usr/sbin/policy-rc.d # its exit code 101 keeps packages from starting the services they bring
made_policy=
log=$(mktemp)
cleanup() {
    rm -f "$log"
    [ -z "$made_policy" ] || rm -f "$policy"
}
trap cleanup EXIT
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    made_policy=yes
fi

echo "installing ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt() { apt-get -o DPkg::Lock::Timeout=300 -qq "$@" </dev/null >>"$log" 2>&1; }
install() { apt install -y --no-install-recommends "${missing[@]}"; }
if ! install; then # perhaps no or old package lists
    { apt update && install; } || { tail -n 20 "$log" >&2 && exit 1; }
fi

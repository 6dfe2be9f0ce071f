#!/usr/bin/env bash
# build_horovod.sh PYTHON: puts Horovod into the environment of PYTHON (which holds TensorFlow already).
#
# The wheel is built once (4 to 10 minutes on two cores) and kept in a cache, keyed by everything that it depends on,
# since a wheel works only with the very TensorFlow and Python it was built for. It enters the cache by one rename, and
# only after two ranks have summed a TensorFlow tensor with it. Two builds of one key wait for each other.
set -euo pipefail

python=${1:?usage: build_horovod.sh PYTHON}
cache=${MWR_HPC_CACHE:-$HOME/.cache/mwr-hpc}/horovod
version=0.28.1
settings=(HOROVOD_WITH_TENSORFLOW=1 HOROVOD_WITHOUT_PYTORCH=1 HOROVOD_WITHOUT_MXNET=1 HOROVOD_WITHOUT_MPI=1
    HOROVOD_WITH_GLOO=1)
# Horovod builds its second set of connections without the interface it was told, on whatever address the host's name
# resolves to: often the loopback, and then two hosts cannot meet (seen with two network namespaces).
interface_fix='/::InitializeForProcessSet/,/^}/ s/iface = gloo_iface_;/iface = gloo_iface_ = global_context.gloo_iface_;/'
PATH=$(cd "$(dirname "$python")" && pwd):$PATH # a cmake that pip installed there comes first

fail() {
    echo "horovod: $*" >&2
    exit 1
}
pip() { "$python" -m pip -qq --disable-pip-version-check --no-input "$@"; }

if ! command -v g++ >/dev/null || ! command -v cmake >/dev/null; then
    fail "building it needs g++ and cmake: run 'make system-packages' as root, or ask your administrator"
fi
cmake_version=$(cmake --version | head -n 1)
case $cmake_version in
"cmake version 3."*) ;;
*) fail "found $cmake_version, but its build needs one below 4: run '$python -m pip install \"cmake<4\"'" ;;
esac

identity=$("$python" -c '
import importlib.metadata, sys, sysconfig
distributions = {d.name.lower().replace("-", "_"): d.version for d in importlib.metadata.distributions()}
tensorflow = [f"{name} {distributions[name]}" for name in ("tensorflow_cpu", "tensorflow") if name in distributions]
print(sys.version, sysconfig.get_config_var("SOABI"), *(tensorflow or sys.exit("no TensorFlow in " + sys.prefix)))')
key=$(printf '%s\n' "$identity" "$(g++ --version | head -n 1)" "$cmake_version" "$version" "${settings[@]}" \
    "$interface_fix" "$(env | grep ^HOROVOD_ | sort)" | sha256sum | cut -c 1-16)

mkdir -p "$cache"
exec 9>"$cache/$key.lock"
flock 9
if [ ! -d "$cache/$key" ]; then
    work=$(mktemp -d "$cache/.build-$key-XXXXXX")
    trap 'rm -rf "$work"' EXIT
    log=$cache/$key.log
    echo "horovod: building $version, 4 to 10 minutes, once (log: $log)"
    source=$work/horovod-$version
    export "${settings[@]}"
    {
        pip download --no-cache-dir --no-build-isolation --no-deps --no-binary horovod -d "$work" "horovod==$version" &&
            tar -xzf "$source.tar.gz" -C "$work" &&
            sed -i "$interface_fix" "$source/horovod/common/gloo/gloo_context.cc" &&
            grep -q 'gloo_iface_ = global_context.gloo_iface_;' "$source/horovod/common/gloo/gloo_context.cc" &&
            MAKEFLAGS="-j$(nproc)" "$python" -m pip wheel --disable-pip-version-check --no-input --no-cache-dir \
                --no-build-isolation --no-deps -w "$work/wheel" "$source"
    } </dev/null >"$log" 2>&1 || { tail -n 30 "$log" >&2 && fail "the build failed, see $log"; }

    # Tried from a folder of its own, so that a wheel that does not work never reaches the environment.
    pip install --no-deps --target "$work/site" "$work/wheel"/horovod-*.whl
    PYTHONPATH=$work/site TF_CPP_MIN_LOG_LEVEL=2 timeout 300 "$python" -m horovod.runner.launch --gloo -np 2 \
        "$python" -c '
import horovod.tensorflow as hvd
import tensorflow as tf

hvd.init()
total = hvd.allreduce(tf.fill([5], float(hvd.rank() + 1)), op=hvd.Sum)
assert hvd.size() == 2 and total.numpy().tolist() == [3.0] * 5, (hvd.size(), total)' </dev/null >>"$log" 2>&1 ||
        { tail -n 30 "$log" >&2 && fail "two ranks of the new wheel could not sum a tensor, see $log"; }
    mv -T "$work/wheel" "$cache/$key"
    echo "horovod: built, and two ranks have summed a tensor with it"
fi
flock -u 9

if [ "$(cat "$("$python" -c 'import sys; print(sys.prefix)')/.horovod-$version" 2>/dev/null)" != "$key" ]; then
    pip install --no-deps --force-reinstall "$cache/$key"/horovod-*.whl
    "$python" -c 'import horovod.tensorflow' 2>/dev/null || fail "it was installed but cannot be imported"
    echo "$key" >"$("$python" -c 'import sys; print(sys.prefix)')/.horovod-$version"
fi

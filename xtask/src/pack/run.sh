#!/bin/sh
# Tests inferscope on the GPU of this machine, and measures what reading it costs: some seven minutes, in which nobody else
# should use the GPU. To be run as root, in the host's pid namespace. `INFERSCOPE_TORCH` names a Python with PyTorch and
# nvidia-ml-py, unless `python3` is one. Arguments name tests.
cd "$(dirname "$0")" || exit
export INFERSCOPE_COMMIT=@COMMIT@ INFERSCOPE_TESTS="$PWD/tests" INFERSCOPE_BIN="$PWD/inferscope"
export INFERSCOPE_TORCH="${INFERSCOPE_TORCH:-python3}"
code=0
./inferscope doctor
./gpu_device --nocapture --test-threads 1 "$@" || code=1
./bench-gpu device || code=1
echo "What reading costs is kept in $PWD/docs/gpu.md and $PWD/target/report/gpu.json."
exit $code

#!/bin/bash
# First contact with one GPU of 80 GB or more, in at most ten minutes: bash tests/bench/first_contact.sh
# Each step has a limit of its own, so that none takes another's time. Logs go to the folder $OUT.
# The Python of $PYTHON (default: python3) has torch for the GPU, and all that gpu_first.py, gpu_edit.py and tests/gpu
# import ($packages below). Without a network, bring what it lacks along as wheels in the folder .whl, and they are used
# beside it; here for Python 3.12, where only these are missing:
#   python3 -m pip download --no-deps --only-binary=:all: --python-version 3.12 --implementation cp \
#     --platform manylinux_2_28_x86_64 --platform manylinux_2_17_x86_64 --platform manylinux2014_x86_64 -d .whl \
#     transformers==5.23.0 diffusers==0.42.1 regex importlib_metadata zipp
cd "$(dirname "$0")/../.." || exit 2
: "${OUT:=$(mktemp -d)}" "${PYTHON:=python3}"
export PYTHONUNBUFFERED=1 HF_HUB_OFFLINE=1 PYTHONWARNINGS=ignore
site=$(mktemp -d)
started=$SECONDS

say() { echo; echo "=== $((SECONDS - started)) s: $*"; }
step() { # SECONDS LINES NAME COMMAND...: run the command at most so long, and show so many of its last lines
  local limit=$1 lines=$2 name=$3
  shift 3
  say "$name (at most $limit s)"
  timeout -k 5 "$limit" "$@" >"$OUT/$name.log" 2>&1
  echo "exit code $?"
  tail -n "$lines" "$OUT/$name.log"
}
pytest_gpu() { echo "$PYTHON" -m pytest -q -m gpu -p no:cacheprovider --durations=5; }

if compgen -G ".whl/*.whl" >/dev/null; then
  "$PYTHON" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --target "$site" .whl/*.whl || exit 1
  export PYTHONPATH="$site"
fi
packages="accelerate diffusers huggingface_hub numpy peft PIL pyarrow pydantic pytest safetensors tokenizers torch"
packages+=" transformers yaml"
"$PYTHON" -c "
import sys; from importlib.util import find_spec
missing = [name for name in sys.argv[1:] if find_spec(name) is None]
if missing: sys.exit('$PYTHON lacks ' + ', '.join(missing) + '. Install them, or put their wheels into .whl.')" \
  $packages || exit 1
nvidia-smi --query-gpu=index,uuid,name,memory.total,driver_version --format=csv,noheader

step 25 3 lease "$PYTHON" scripts/gpulease.py -- "$PYTHON" -c "
import sys; sys.path.insert(0, 'scripts')
import torch; from editlane.models.devices import describe_device, read_usage
torch.zeros(1, device='cuda'); print(describe_device(), read_usage(), torch.__version__, torch.backends.cudnn.version())"
step 150 75 first "$PYTHON" tests/bench/gpu_first.py --scale full
step 75 25 judge_tests $(pytest_gpu) tests/gpu/test_judge_gpu.py
step 100 30 editor_tests $(pytest_gpu) tests/gpu/test_editors_gpu.py -k "not compiled"
step 150 14 edit "$PYTHON" tests/bench/gpu_edit.py --part exact --turns 1 --minutes 2.3 --json "$OUT/edit.jsonl" \
  --only "plain: diffusers" "backend: _native_cudnn" "VAE" "text encoder"
left=$((580 - SECONDS + started))
if [ $left -gt 45 ]; then
  step $((left - 8)) 12 compiled $(pytest_gpu) tests/gpu/test_editors_gpu.py -k "compiled_once"
fi
say "end; logs in $OUT"

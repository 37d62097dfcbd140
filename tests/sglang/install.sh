#!/bin/sh
# A venv with SGLang's server of diffusion models for the CPU, for tests/sglang: about 3 GB and some minutes.
# Usage: sh tests/sglang/install.sh FOLDER
#
# SGLang has a platform for the CPU, but its operators for it are no package on PyPI: sgl_kernel.py stands in for those
# that Qwen-Image-Edit needs. What is for CUDA, sound and meshes is left out. torchvision, of which only Python code is
# used, gets the two operators that it looks for at import.
set -e
here=$(dirname "$0")
python3 -m venv "$1"
"$1/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6 pillow==13.0.0 fastapi==0.165.0 \
    uvicorn==0.54.0 uvloop==0.23.0 python-multipart==0.0.34 httpx==0.28.1 aiohttp==3.14.5 requests==2.34.2 orjson==3.13.0 \
    msgspec==0.23.0 pyzmq==27.3.0 psutil==7.2.2 setproctitle==1.3.8 prometheus-client==0.26.0 huggingface-hub==1.33.0 \
    safetensors==0.8.0 regex==2026.11.19 openai==2.8.0 python-dateutil==2.9.0.post0 accelerate==1.15.0 importlib-metadata==10.2.0 \
    ipython==9.18.1
"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps sglang==0.5.23 torchvision==0.28.0 triton==3.9.0 \
    transformers==5.19.0 tokenizers==0.23.2 diffusers==0.37.0 cache-dit==1.5.1 compressed-tensors==0.18.0 gguf==0.19.0 \
    apache-tvm-ffi==0.1.11 pybase64==1.5.1 sentencepiece==0.2.1 partial-json-parser==0.2.1.1.post7 einops==0.8.2 \
    imageio==2.36.0 imageio-ffmpeg==0.5.1 opencv-python-headless==4.10.0.84 cloudpickle==3.1.2 dill==0.4.1 \
    loguru==0.7.3 addict==2.4.0 msgpack==1.2.4
packages=$("$1/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
cat >>"$packages/torchvision/extension.py" <<'END'

if not _has_ops():
    for _name in ("nms", "qnms"):
        torch.library.define(f"torchvision::{_name}", "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
END
cp "$here/sgl_kernel.py" "$packages/"
mkdir -p "$packages/sgl_kernel-1.dist-info"
printf '[sglang.multimodal_gen.plugins]\ncpu = sgl_kernel:define\n' >"$packages/sgl_kernel-1.dist-info/entry_points.txt"
printf 'Metadata-Version: 2.1\nName: sgl-kernel\nVersion: 1\n' >"$packages/sgl_kernel-1.dist-info/METADATA"
touch "$1/installed"

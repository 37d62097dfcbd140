#!/bin/sh
# A venv with trainers, for tests/trainers: 2 GB and some minutes. Usage: sh tests/trainers/install.sh FOLDER
#
# verl, ms-swift and OpenRLHF come without their dependencies, which contradict each other and TRL's and include CUDA
# extensions. What follows in the second list is what their code for rewards imports.
set -e
python3 -m venv "$1"
"$1/bin/pip" install --quiet --disable-pip-version-check \
    torch==2.13.0 trl==1.16.0 datasets==5.2.0 pillow==13.0.0 requests==2.34.2 pytest==9.2.0
"$1/bin/pip" install --quiet --disable-pip-version-check --no-deps verl==0.9.1 ms-swift==4.6.0 openrlhf==0.11.2
"$1/bin/pip" install --quiet --disable-pip-version-check \
    ray==2.60.0 tensordict==0.10.0 aiohttp codetiming msgspec omegaconf torchdata \
    dacite diffusers==0.42.1 json_repair modelscope peft pylatexenc
touch "$1/installed"

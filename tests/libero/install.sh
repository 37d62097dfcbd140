#!/bin/sh
# A venv with what envs/libero.yaml installs, for tests/libero: about 2 GB and some minutes. Usage: sh tests/libero/install.sh FOLDER
#
# Pictures need EGL or OSMesa, of Debian's packages libegl1 and libegl-mesa0, or libosmesa6.
set -e
python3 -m venv "$1"
sed -n 's/^ *- \([a-z-]*==[0-9.]*\).*/\1/p' "$(dirname "$0")/../../envs/libero.yaml" >"$1/packages.txt"
"$1/bin/pip" install --quiet --disable-pip-version-check --requirement "$1/packages.txt"

# openpi's own client and server want numpy 1, so they have a venv of their own: 0.1 GB. typing_extensions is undeclared.
python3 -m venv "$1/openpi"
"$1/openpi/bin/pip" install --quiet --disable-pip-version-check openpi-client==0.1.2 openpi-server==0.1.0 typing_extensions==4.15.0
touch "$1/installed"

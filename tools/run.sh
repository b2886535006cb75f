#!/usr/bin/env bash
# Run a command inside the project's virtual environment: tools/run.sh COMMAND [ARGUMENT...]
set -eu
. "$(dirname "$0")/paths.sh"
cd "$root"
if [ ! -x "$venv/bin/python" ]; then
    echo "there is no environment that this user can run yet: \`make demo\` or \`make test\` sets one up" >&2
    exit 3
fi
export PATH=$venv/bin:$PATH
exec "$@"

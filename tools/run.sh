#!/usr/bin/env bash
# Run a command inside the project's virtual environment: tools/run.sh COMMAND [ARGUMENT...]
set -eu
. "$(dirname "$0")/paths.sh"
cd "$root"
export PATH=$venv/bin:$PATH
exec "$@"

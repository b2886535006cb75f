# shellcheck shell=bash disable=SC2034
# Where things lie. Sourced by setup.sh and run.sh, so that both always mean the same virtual environment.
#
# root   the clone
# venv   $SYNFIN_VENV, or .venv in the clone; where neither this user can write there nor an environment that works is
#        there already, a folder for this clone in $state.
# state  for what is kept between runs and does not go into the clone: the user's cache ($XDG_CACHE_HOME, ~/.cache); a
#        folder in /tmp where there is none that can be written, and then it says so
# programs  in the environment: programs that tests trace, unpacked and not installed
# Sets caches outside the clone and a stand-in for HOME only where the usual ones cannot be written.

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
PATH=$PATH:/usr/local/sbin:/usr/sbin:/sbin # a plain user's PATH often lacks these, and bpftool, ip and nft are there
export PATH

# What an environment was made from: a change of any of these makes set-up run again.
fingerprint() { # LEVEL
    { echo "$1 $root"; cat "$root/pyproject.toml" "$root/tools/setup.sh"; } | sha256sum | cut -d' ' -f1
}

# A folder of our own that nobody else can have prepared: in /tmp a name alone proves nothing.
own_dir() { # PATH
    mkdir -p -m 700 "$1" 2>/dev/null && [ -O "$1" ] && [ ! -L "$1" ] && [ -w "$1" ]
}

ready() { # VENV LEVEL: was it set up from just these files, and does it start?
    [ "$(cat "$1/.synfin-$2" 2>/dev/null)" = "$(fingerprint "$2")" ] && "$1/bin/python" -c '' 2>/dev/null
}

[ -d "${HOME:-}" ] || unset HOME # /nonexistent, as services have it, is not to be made
state=
for cache in "${XDG_CACHE_HOME:-}" "${HOME:+$HOME/.cache}"; do
    case $cache in /*) ;; *) continue ;; esac # as the XDG base directories have it: a relative path does not count
    if mkdir -p "$cache/synfin" 2>/dev/null && [ -w "$cache/synfin" ]; then state=$cache/synfin && break; fi
done
if [ -z "$state" ]; then
    state=${TMPDIR:-/tmp}/synfin-$(id -u)
    known=$([ ! -d "$state" ] || echo yes) # said once
    own_dir "$state" || { state=$(mktemp -d) && known=; }
    [ "$known" ] || echo "note: no cache directory of this user's can be written (XDG_CACHE_HOME, HOME);" \
        "what is kept between runs is in $state and may be removed" >&2
fi
if [ ! -w "${HOME:-}" ]; then
    export HOME=$state/home
    mkdir -p "$HOME"
fi

if [ -n "${SYNFIN_VENV:-}" ]; then
    venv=$SYNFIN_VENV
elif { [ -e "$root/.venv" ] && [ -w "$root/.venv" ]; } || { [ ! -e "$root/.venv" ] && [ -w "$root" ]; } ||
    ready "$root/.venv" test || ready "$root/.venv" demo; then
    venv=$root/.venv
else
    venv=$state/venv-$(printf %s "$root" | cksum | cut -d' ' -f1)
fi

programs=$venv/programs
PATH=$PATH:$programs/bin

if [ ! -w "$root" ]; then
    export PYTHONPYCACHEPREFIX=$state/pycache NUMBA_CACHE_DIR=$state/numba
    export RUFF_CACHE_DIR=$state/ruff MYPY_CACHE_DIR=$state/mypy HYPOTHESIS_STORAGE_DIRECTORY=$state/hypothesis
    export PYTEST_ADDOPTS="-o cache_dir=$state/pytest ${PYTEST_ADDOPTS:-}"
fi

#!/usr/bin/env bash
# Set up all that the demo or the tests need: tools/setup.sh demo|test [again]
#
# Python's part is a virtual environment with this project installed in place; it is done over only when the files it was
# made from change. The system's part is a handful of packages: python3-bpfcc, and the programs that the tests compare
# with. Beside them are programs that the tests trace: they are services, so they are not installed but only unpacked
# into the environment. Only Python's part can fail: a package that cannot be had is named, with what goes without it,
# and set-up goes on. What could not be had is not tried at every start; `again` tries.
set -u
. "$(dirname "$0")/paths.sh"

level=${1:-test}
again=${2:-}
case $level in demo | test) ;; *) echo "usage: $0 demo|test [again]" >&2 && exit 2 ;; esac

say() { printf 'set-up: %s\n' "$*"; }
give_up() { printf 'set-up: %s\n' "$*" >&2 && exit 1; }

# Two `make` at once wait for each other. The lock is on this file, which is there even where nothing can be written.
exec 9<"${BASH_SOURCE[0]}"
command -v flock >/dev/null && flock 9

mkdir -p "$venv" 2>/dev/null || [ -d "$venv" ] || give_up "$venv cannot be written; name another place: SYNFIN_VENV=DIR make $level"
log=$state/setup.log
{ mkdir -p "$state" && : >"$log"; } 2>/dev/null || log=$(mktemp)

# --- the system's packages ------------------------------------------------------------------------------------------

# level | how to see that it is there | packages that bring it, best first | what goes without it
system_packages='
demo|bcc     |python3-bpfcc              |kernel probes: states, queues and wake-ups are then sampled or inferred, not observed
demo|ip      |iproute2                   |looking into a scenario'"'"'s network namespace by hand
demo|nft     |nftables                   |scenarios that drop chosen packets inside their namespace
test|tshark  |tshark                     |tests that compare the analysis with Wireshark
test|tcpdump |tcpdump                    |tests that compare captures with tcpdump
test|tmux    |tmux                       |tests that drive the screen in a real terminal
test|strace  |strace                     |tests that compare system calls with strace
test|bpftrace|bpftrace                   |tests that compare probes with bpftrace
test|bpftool |bpftool linux-tools-generic|tests that nothing stays loaded in the kernel
test|go      |golang-go                  |tests that play and trace Go programs'

traced_programs='
test|curl        |curl             |tests that trace curl and the servers it asks
test|nginx       |nginx-light nginx|a test that traces nginx
test|redis-server|redis-server     |a test that traces redis under its benchmark
test|iperf3      |iperf3           |a test that traces iperf3
test|socat       |socat            |a test that traces a server that forks
test|postgres    |postgresql       |a test that traces PostgreSQL under pgbench
'

there() {
    case $1 in
    postgres) ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null ;;
    bcc) [ -e /usr/lib/python3/dist-packages/bcc/__init__.py ] || python3 -c 'import bcc' 2>/dev/null ;;
    *) command -v "$1" >/dev/null ;;
    esac
}

missing_rows() { # TABLE
    local row_level what packages purpose
    while IFS='|' read -r row_level what packages purpose; do
        what=${what%% *}
        [ -z "$row_level" ] || { [ "$level" = demo ] && [ "$row_level" = test ]; } || there "$what" ||
            printf '%s|%s|%s\n' "$what" "${packages%"${packages##*[! ]}"}" "$purpose"
    done <<<"$1"
}

apt() {
    DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 timeout 600 apt-get -y -q \
        -o DPkg::Lock::Timeout=120 -o Acquire::Retries=2 "$@" >>"$log" 2>&1 9<&- </dev/null
}

updated=
install_packages() { # all at once; one by one when one of them stops the rest
    apt install --no-install-recommends "$@" && return
    if [ -z "$updated" ]; then
        updated=yes
        say "reading the system's package lists"
        apt update
        apt install --no-install-recommends "$@" && return
    fi
    [ $# -gt 1 ] || return 1
    local package
    for package in "$@"; do apt install --no-install-recommends "$package"; done
}

set_up_system() {
    local rows first what packages purpose package tried=$venv/.synfin-tried
    rows=$(missing_rows "$system_packages")
    [ -n "$rows" ] || return 0
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        if [ "$again" ] || [ "$(cat "$tried" 2>/dev/null)" != "$rows" ]; then
            first=$(cut -d'|' -f2 <<<"$rows" | cut -d' ' -f1)
            say "installing $(echo $first)"
            # tshark asks whether plain users may capture; the answer that changes nothing is no.
            command -v debconf-set-selections >/dev/null &&
                echo 'wireshark-common wireshark-common/install-setuid boolean false' | debconf-set-selections 2>>"$log"
            install_packages $first
            while IFS='|' read -r what packages purpose; do # second choices
                for package in $packages; do there "$what" || [ "$package" = "${packages%% *}" ] || install_packages "$package"; done
            done <<<"$rows"
            rows=$(missing_rows "$system_packages")
            printf '%s\n' "$rows" >"$tried"
        fi
        [ -n "$rows" ] && say "apt-get could not install the following; details in $log, 'make setup' tries again"
    else
        say "without root and apt-get the following is not installed; as root: apt-get install $(echo $(cut -d'|' -f2 <<<"$rows" | cut -d' ' -f1))"
    fi
    while IFS='|' read -r what packages purpose; do
        [ -z "$what" ] || say "  no ${packages%% *}: goes without $purpose"
    done <<<"$rows"
}

# --- programs that the tests trace: unpacked, not installed ---------------------------------------------------------

unpack_programs() {
    local rows first what packages purpose package tried=$venv/.synfin-tried-programs
    rows=$(missing_rows "$traced_programs")
    [ -n "$rows" ] && [ -w "$venv" ] && command -v apt-get >/dev/null || return 0
    if [ "$again" ] || [ "$(cat "$tried" 2>/dev/null)" != "$rows" ]; then
        first=$(cut -d'|' -f2 <<<"$rows" | cut -d' ' -f1)
        say "unpacking $(echo $first) into $programs, for tests to trace"
        "$root/tools/unpack.sh" "$programs" $first >>"$log" 2>&1 9<&-
        while IFS='|' read -r what packages purpose; do # second choices
            for package in $packages; do
                there "$what" || [ "$package" = "${packages%% *}" ] || "$root/tools/unpack.sh" "$programs" "$package" >>"$log" 2>&1 9<&-
            done
        done <<<"$rows"
        rows=$(missing_rows "$traced_programs")
        printf '%s\n' "$rows" >"$tried"
    fi
    while IFS='|' read -r what packages purpose; do
        [ -z "$what" ] || say "  no ${packages%% *}: goes without $purpose"
    done <<<"$rows"
}

# --- Python ---------------------------------------------------------------------------------------------------------

version_of() { "$1" -c 'import sys; print("%d.%d" % sys.version_info[:2]); sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() { # the first that is new enough, one that can make environments preferred
    local name fallback=
    for name in python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        version_of "$name" >/dev/null || continue
        "$name" -c 'import venv, ensurepip' 2>/dev/null && echo "$name" && return
        fallback=${fallback:-$name}
    done
    [ -n "$fallback" ] && echo "$fallback"
}

make_venv() {
    local python version
    python=$(find_python) || give_up "Python 3.11 or later is needed and $(python3 -V 2>/dev/null || echo no python3) was found." \
        "On Debian 12, Ubuntu 24.04 and later: apt-get install python3 python3-venv. On Ubuntu 22.04: apt-get install python3.11-venv."
    version=$(version_of "$python")
    if ! "$python" -c 'import venv, ensurepip' 2>/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
        say "installing python$version-venv"
        install_packages "python$version-venv" || install_packages python3-venv
    fi
    if "$python" -c 'import venv, ensurepip' 2>/dev/null; then
        say "making a virtual environment of Python $version in $venv"
        "$python" -m venv --clear "$venv" >>"$log" 2>&1 9<&- || give_up "python -m venv failed; its words are in $log"
    elif "$python" -m pip --version >/dev/null 2>&1 && "$python" -m venv --clear --without-pip "$venv" >>"$log" 2>&1; then
        foreign_pip=$python # Debian's pip without its venv: pip can install into another environment
    else
        give_up "$python has no ensurepip to make a virtual environment with; as root: apt-get install python$version-venv"
    fi
}

foreign_pip=
pip_install() {
    local pip=("$venv/bin/python" -m pip)
    [ -z "$foreign_pip" ] || pip=("$foreign_pip" -m pip --python "$venv/bin/python")
    "${pip[@]}" install -q --no-input --disable-pip-version-check "$@" >>"$log" 2>&1 9<&- </dev/null
}

set_up_python() {
    local need='' extras=fast extra
    if [ "$level" = test ]; then need='[dev]' extras="fast parquet servers go"; fi
    [ "$again" ] || ! ready "$venv" "$level" || return 0
    [ "$level" = demo ] && [ -z "$again" ] && ready "$venv" test && return 0
    if ! version_of "$venv/bin/python" >/dev/null || ! "$venv/bin/python" -m pip --version >/dev/null 2>&1; then make_venv; fi
    say "installing Python packages (the first time this takes a minute or two)"
    cd "$root" || exit 1
    if ! pip_install -e ".[$(echo $extras ${need:+dev} | tr ' ' ,)]"; then
        # Perhaps only an optional one has no build for this Python: the needed ones first, then each for itself.
        pip_install -e ".$need" || { tail -n 15 "$log" >&2; give_up "pip could not install what is needed; all its words are in $log"; }
        for extra in $extras; do
            pip_install -e ".[$extra]" || say "  no '$extra' (see pyproject.toml): could not be installed, goes without"
        done
    fi
    "$venv/bin/python" -c 'import textual, numpy, click' || give_up "the environment in $venv does not work; remove it and try again"
    fingerprint "$level" >"$venv/.synfin-$level"
    say "Python packages ready"
    fresh=yes
}

fresh=
set_up_python
set_up_system
unpack_programs
# What is compiled once and kept (the probes for this kernel, the replay loop for this processor) takes some seconds:
# better now than in front of a class. Without it everything works, the first time a little later.
if [ "$fresh" ]; then
    cd "$root" || exit 1
    [ "$(id -u)" = 0 ] && "$venv/bin/python" -c 'from tracer.kernel.source import prepare; prepare()' >>"$log" 2>&1
    "$venv/bin/python" -m tracer.machine_code tracer.capture.compiled tracer.replay.compiled tracer.recording.compiled \
        tracer.replay.infer_compiled tracer.kernel.weave tracer.recording.parse tracer.export.rows_compiled >>"$log" 2>&1
fi
exit 0

#!/usr/bin/env bash
# Unpack Debian packages into a folder instead of installing them: tools/unpack.sh FOLDER PACKAGE...
#
# With them comes what they depend on and the system lacks. Nothing is configured: no service starts, no user or link is
# made, and nobody needs to be root. FOLDER/root has the files, FOLDER/bin a starter for each program, which lets it find
# its own libraries. APT_OPTIONS (words) goes to apt-get, for package lists other than the system's.
set -u
mkdir -p "$1/root" "$1/bin" || exit 1
folder=$(cd "$1" && pwd -P)
shift
{ command -v apt-get && command -v dpkg; } >/dev/null || { echo "there is no apt-get and dpkg here" >&2 && exit 1; }
downloads=$(mktemp -d) || exit 1
trap 'rm -rf "$downloads"' EXIT

apt() {
    # shellcheck disable=SC2086
    LC_ALL=C timeout 300 apt-get -q -o Debug::NoLocking=1 -o Acquire::Retries=2 -o APT::Sandbox::User="$(id -un)" \
        ${APT_OPTIONS:-} "$@" </dev/null
}

status=0
for package in "$@"; do # one for one: where one cannot be had the others still are
    wanted=$(apt -s install --no-install-recommends "$package" | sed -n 's/^Inst \([^ ]*\) .*/\1/p')
    # shellcheck disable=SC2086
    (cd "$downloads" && apt download ${wanted:-$package}) || status=1
done
for file in "$downloads"/*.deb; do
    [ ! -e "$file" ] || dpkg -x "$file" "$folder/root" || status=1
done

cd "$folder/root" || exit 1
libraries=$(find "$PWD" -name '*.so*' -printf '%h\n' | grep -E '/lib/[^/]*$' | sort -u | paste -sd:)
# what usr/bin has of PostgreSQL are scripts that look for clusters: the programs themselves come last, and stay
for program in usr/sbin/* usr/bin/* sbin/* bin/* usr/lib/postgresql/*/bin/*; do
    [ -f "$program" ] && [ -x "$program" ] || continue
    starter=$folder/bin/${program##*/}
    printf '#!/bin/sh\nexport LD_LIBRARY_PATH="%s${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"\nexec "%s" "$@"\n' \
        "$libraries" "$PWD/$program" >"$starter" && chmod +x "$starter" || status=1
done
exit $status

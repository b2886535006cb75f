#!/usr/bin/env bash
# Fetch what booting other kernels takes, into the environment: tools/kernels.sh
#
# An emulator, and of each Debian release in the table its kernel for virtual machines. All of it is only unpacked: the
# machine's own packages, kernels and package lists stay as they are, and nobody needs to be root. The releases come
# from the Debian mirror that this system uses, or from $SYNFIN_DEBIAN_MIRROR. What is there already is not fetched again.
set -u
. "$(dirname "$0")/paths.sh"

folder=$venv/kernels
releases='bullseye bookworm trixie trixie-backports' # Linux 5.10, 6.1, 6.12 and the newest
flavour=cloud-amd64

say() { printf 'kernels: %s\n' "$*"; }
give_up() { printf 'kernels: %s\n' "$*" >&2 && exit 1; }

[ "$(uname -m)" = x86_64 ] || give_up "only x86_64 is emulated, and this is $(uname -m)"
mkdir -p "$folder/lists/partial" "$folder/archives/partial" || give_up "$folder cannot be written"
folder=$(cd "$folder" && pwd -P)
log=$folder/log
: >"$log"

missing=
for program in qemu-system-x86_64:qemu-system-x86 mksquashfs:squashfs-tools busybox:busybox-static; do
    [ -x "$folder/tools/bin/${program%:*}" ] || missing="$missing ${program#*:}"
done
if [ -n "$missing" ]; then
    say "unpacking$missing"
    # shellcheck disable=SC2086
    "$root/tools/unpack.sh" "$folder/tools" $missing >>"$log" 2>&1 || give_up "could not be had:$missing; details in $log"
fi

keyring=/usr/share/keyrings/debian-archive-keyring.gpg
mirror=${SYNFIN_DEBIAN_MIRROR:-$(apt-get indextargets --format '$(ORIGIN) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    sed -n 's/^Debian \(.*[^/]\)\/*$/\1/p' | grep -v -- -security | head -n 1)}
[ -n "$mirror" ] || give_up "kernels come from Debian's archive, and this system has no Debian mirror: name one in SYNFIN_DEBIAN_MIRROR"
[ -e $keyring ] || give_up "$keyring is needed to check what comes from Debian: apt-get install debian-archive-keyring"
for release in $releases; do echo "deb [signed-by=$keyring] $mirror $release main"; done >"$folder/sources"

# lists and archives of our own, so that the system's stay as they are
export APT_OPTIONS="-o Dir::State::lists=$folder/lists -o Dir::Cache=$folder -o Dir::Cache::archives=$folder/archives
    -o Dir::Etc::sourcelist=$folder/sources -o Dir::Etc::sourceparts=- -o APT::Sandbox::User=$(id -un)"
# shellcheck disable=SC2086

depends() { # PACKAGE: its own parts among what it depends on
    # shellcheck disable=SC2086
    LC_ALL=C apt-cache $APT_OPTIONS show --no-all-versions "$1" 2>>"$log" | sed -n 's/^Depends: //p' | tr ',' '\n' |
        grep -oE 'linux-(image|binary|modules)-[0-9][^ ]*'
}

if [ -z "$(find "$folder/lists" -name '*Packages*' -mmin -1440 2>/dev/null)" ]; then
    say "reading the package lists of $releases"
    # shellcheck disable=SC2086
    LC_ALL=C timeout 300 apt-get -q $APT_OPTIONS update >>"$log" 2>&1
fi

found=
for release in $releases; do
    image=$(depends "linux-image-$flavour/$release" | head -n 1)
    [ -n "$image" ] || { say "  no kernel of $release: its package list could not be read"; continue; }
    place=$folder/kernels/$image
    if [ ! -e "$place/complete" ]; then
        say "unpacking $image ($release)"
        rm -rf "$place" && mkdir -p "$place/debs"
        parts=$(printf '%s\n' "$image" $(depends "$image") $(depends "linux-image-$flavour/$release") | sort -u)
        # shellcheck disable=SC2086
        (cd "$place/debs" && LC_ALL=C timeout 300 apt-get -q $APT_OPTIONS download $parts >>"$log" 2>&1) &&
            for file in "$place/debs"/*.deb; do dpkg -x "$file" "$place" || break; done && rm -r "$place/debs" &&
            [ -n "$(find "$place" -name 'vmlinuz*')" ] && : >"$place/complete"
    fi
    [ -e "$place/complete" ] && found="$found $image" || say "  $image could not be unpacked; details in $log"
done
[ -n "$found" ] || give_up "no kernel could be had; details in $log"
printf '%s\n' $found >"$folder/found"

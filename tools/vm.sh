#!/bin/sh
# What `make campaign-power` needs from the system: qemu, and what builds its machine. With apt-get
# when it may, else one line that says how. A machine that has been built needs only qemu.
set -eu
PATH=$PATH:/usr/sbin:/sbin
packages="qemu-system-x86 mmdebstrap busybox-static cpio kmod e2fsprogs xz-utils make"
say() { echo "setup: $*" >&2; }

if [ "$(uname -m)" != x86_64 ]; then
    say "the emulated machine is x86-64, and so must this one be to build it; here is $(uname -m)"
    exit 1
fi
missing=
for program in qemu-system-x86_64 mmdebstrap busybox cpio depmod mkfs.ext4 xz make; do
    command -v "$program" >/dev/null || missing="$missing $program"
done
if [ -z "$missing" ]; then exit 0; fi
if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
    say "missing:$missing. As root: apt-get install --no-install-recommends $packages"
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    say "missing:$missing. The machine is built on Debian 12 (it takes kernel and source from apt)"
    exit 1
fi
say "installing $packages"
# shellcheck disable=SC2086 -- a list, and empty when root
$sudo apt-get update -qq
# shellcheck disable=SC2086 -- as above
$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $packages >/dev/null

#!/bin/bash
# Builds the machine that campaign-power cuts: build.sh WORK [ROOT]
#
# Into WORK, outside the tree: vmlinuz and initrd (Debian's own kernel), base.img (Debian 12 with
# systemd, the project as a device carries it, its own unit). What has not changed is not built
# again. Needs root, for the owners of the files in the image; network through apt and pip alone.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "${2:-$here/../../..}" && pwd)
mkdir -p "$1"
cd "$1"
PATH=$PATH:/usr/sbin:/sbin
download='apt-get -qq -o APT::Sandbox::User=root download'
say() { echo "machine: $*" >&2; }
stamped() { [ "$(cat "$1.stamp" 2>/dev/null)" = "$2" ]; }
stamp() { echo "$2" >"$1.stamp"; }

exec 9>lock
flock -n 9 || { say "another build is at work in $PWD: waiting"; flock 9; }
if [ "$(id -u)" != 0 ]; then say "the image is built as root (sudo make campaign-power)"; exit 2; fi

release=$(apt-cache depends linux-image-amd64 2>/dev/null | grep -oE '[0-9]+\.[0-9.]+-[0-9]+-amd64' | head -1 || true)
if [ -z "$release" ]; then
    say "asking apt which kernel there is"
    apt-get update -qq
    release=$(apt-cache depends linux-image-amd64 | grep -oE '[0-9]+\.[0-9.]+-[0-9]+-amd64' | head -1)
fi
series=$(echo "$release" | grep -oE '^[0-9]+\.[0-9]+')
modules="configfs virtio_net virtio_console virtio-rng autofs4"

files_of() { # the modules named and all they need, in the order of loading
    for module in "$@"; do modprobe -d "$PWD/kernel" -S "$release" --show-depends "$module"; done |
        awk '$1 == "insmod" && !seen[$2]++ {print $2}'
}

if ! stamped kernel "$release"; then
    say "kernel $release"
    rm -rf kernel && mkdir -p kernel debs
    (cd debs && rm -f linux-image-* && $download "linux-image-$release")
    dpkg-deb -x debs/linux-image-*.deb kernel
    rm -f debs/linux-image-*.deb
    depmod -b kernel "$release"
    cp "kernel/boot/vmlinuz-$release" vmlinuz
    rm -f rootfs.stamp gpio.stamp initrd.stamp
    stamp kernel "$release"
fi

if ! stamped initrd "$(sha256sum <"$here/init")"; then
    rm -rf early && mkdir -p early/bin early/modules
    cp "$(command -v busybox)" early/bin/busybox
    install -m 755 "$here/init" early/init
    files_of virtio_pci virtio_blk crc32c_generic ext4 | while read -r file; do
        cp "$file" early/modules/
        basename "$file" >>early/order
    done
    (cd early && find . | cpio -o -H newc --quiet | gzip -1) >initrd
    stamp initrd "$(sha256sum <"$here/init")"
fi

# Debian builds neither gpio-sim nor the irq_sim it stands on. Two lines differ from Debian's source:
# an inner call that modules may not make has an exported twin; and a pull resistor asked for moves no
# line, because here the line is the contact itself, which wins over any resistor.
if ! stamped gpio "$release"; then
    say "gpio-sim from linux-source-$series (some 140 MB, once)"
    apt-get install -y -qq --no-install-recommends "linux-headers-$release" >/dev/null
    mkdir -p debs && rm -rf gpio && mkdir gpio
    (cd debs && rm -f linux-source-* && $download "linux-source-$series")
    dpkg-deb --fsys-tarfile debs/linux-source-*.deb | tar xO "./usr/src/linux-source-$series.tar.xz" |
        xz -dc -T2 | tar x -C gpio --strip-components=3 --wildcards \
        '*/drivers/gpio/gpio-sim.c' '*/drivers/gpio/gpiolib*.h' '*/kernel/irq/irq_sim.c'
    rm -f debs/linux-source-*.deb
    sed -i 's/handle_simple_irq(irq_to_desc(irqnum))/generic_handle_irq_safe(irqnum)/' gpio/irq_sim.c
    sed -i 's/return gpio_sim_apply_pull(chip, offset, [01]);/return 0;/' gpio/gpio-sim.c
    if ! grep -q generic_handle_irq_safe gpio/irq_sim.c ||
        grep -q 'return gpio_sim_apply_pull(chip, offset, [01]);' gpio/gpio-sim.c; then
        say "gpio-sim of linux-source-$series is not the one these two changes were made for (6.1)"
        exit 1
    fi
    sed -i 's/struct gpio_sim_chip \*chip = gpiochip_get_data(gc);/& (void)chip;/' gpio/gpio-sim.c
    printf 'obj-m := gpio-simulated.o\ngpio-simulated-y := gpio-sim.o irq_sim.o\n' >gpio/Kbuild
    make -s -C "/usr/src/linux-headers-$release" M="$PWD/gpio" modules 2>&1 | grep -v BTF >&2 || true
    test -e gpio/gpio-simulated.ko
    rm -f rootfs.stamp
    stamp gpio "$release"
fi

include=systemd,systemd-sysv,udev,kmod,python3,gpiod
recipe="$release $(sha256sum <"$here/build.sh")"
if ! stamped rootfs "$recipe"; then
    say "Debian 12 (mmdebstrap, half a minute)"
    rm -rf rootfs base.img
    mmdebstrap -q --variant=minbase --include="$include" bookworm rootfs
    rm -rf rootfs/var/cache/apt/* rootfs/var/lib/apt/lists/* rootfs/usr/share/doc rootfs/usr/share/locale
    for file in $(files_of $modules) kernel/lib/modules/"$release"/modules.{builtin,order}; do
        file=$(realpath --relative-to=kernel "$file")
        install -D -m 644 "kernel/$file" "rootfs/usr/$file"
    done
    install -D -m 644 gpio/gpio-simulated.ko "rootfs/usr/lib/modules/$release/extra/gpio-simulated.ko"
    depmod -b rootfs "$release"
    for unit in getty.target getty-static.service apt-daily.timer apt-daily-upgrade.timer \
        dpkg-db-backup.timer e2scrub_all.timer e2scrub_reap.service fstrim.timer systemd-binfmt.service \
        proc-sys-fs-binfmt_misc.automount systemd-timesyncd.service systemd-pstore.service; do
        ln -sf /dev/null "rootfs/etc/systemd/system/$unit"
    done
    ln -sf /lib/systemd/system/multi-user.target rootfs/etc/systemd/system/default.target
    stamp rootfs "$recipe"
    rm -f site.stamp
fi

# The project as a device carries it: the hashed lock's wheels for Debian's Python, our own wheel.
site=rootfs/opt/qorgan/lib/python3.11/site-packages
lock=$(sha256sum <"$root/requirements.lock")
if ! stamped site "$lock"; then
    say "the wheels of requirements.lock"
    rm -rf rootfs/opt/qorgan && mkdir -p "$site" rootfs/opt/qorgan/bin
    "$root/.venv/bin/uv" pip install -q --target "$site" --python "$root/.venv/bin/python" \
        --python-version 3.11 --python-platform x86_64-manylinux_2_36 --only-binary :all: \
        --require-hashes --compile-bytecode -r "$root/requirements.lock"
    printf 'home = /usr/bin\ninclude-system-site-packages = false\nversion = 3.11\n' \
        >rootfs/opt/qorgan/pyvenv.cfg
    ln -s /usr/bin/python3 rootfs/opt/qorgan/bin/python
    stamp site "$lock"
fi
product=$(cd "$root" && find gateway drivers config systemd pyproject.toml campaigns/power/vm -type f \
    ! -name '*.pyc' -print0 | sort -z | xargs -0 sha256sum | sha256sum)
if ! stamped image "$product $lock" || [ ! -e base.img ]; then
    say "the project, and the image"
    rm -rf source && mkdir source # a copy: nothing is written into the tree, and others may edit it
    cp -a "$root"/{gateway,drivers,config,pyproject.toml,README.md,LICENSE} source/
    rm -rf "$site"/gateway "$site"/drivers "$site"/qorgan-*
    "$root/.venv/bin/uv" pip install -q --target "$site" --python "$root/.venv/bin/python" \
        --no-deps --no-index --no-build-isolation --compile-bytecode ./source
    rm -rf source "$site/bin"
    cat >rootfs/opt/qorgan/bin/qorgan <<'EOF'
#!/opt/qorgan/bin/python -I
import sys
from gateway.__main__ import main
sys.exit(main())
EOF
    chmod 755 rootfs/opt/qorgan/bin/qorgan
    install -m 644 "$root/systemd/qorgan.service" rootfs/etc/systemd/system/qorgan.service
    install -D -m 644 "$root/systemd/qorgan.sysusers.conf" rootfs/usr/lib/sysusers.d/qorgan.conf
    cp -rT --no-preserve=ownership "$here/guest" rootfs
    chmod 755 rootfs/usr/lib/qorgan-rig/*.sh rootfs/usr/lib/systemd/system-generators/*
    mkdir -p rootfs/etc/qorgan rootfs/etc/systemd/system/multi-user.target.wants
    wants=rootfs/etc/systemd/system/multi-user.target.wants
    ln -sf ../qorgan.service ../rig-hardware.service ../rig-agent.service \
        /lib/systemd/system/systemd-networkd.service "$wants/"
    rm -f base.img
    mkfs.ext4 -q -F -d rootfs -L root base.img 900M
    stamp image "$product $lock"
fi
say "ready in $PWD"

#!/bin/sh
# A gpiochip of 28 lines as on a Raspberry Pi's header. /etc/qorgan/closed lists the contacts that
# are closed at rest: a closed contact pulls its line to ground, an open one leaves it up.
set -eu
modprobe -a configfs gpio-simulated
mountpoint -q /sys/kernel/config || mount -t configfs none /sys/kernel/config
chip=/sys/kernel/config/gpio-sim/board
mkdir -p $chip/bank
echo 28 >$chip/bank/num_lines
echo pinctrl-bcm2835 >$chip/bank/label
echo 1 >$chip/live
lines=/sys/devices/platform/$(cat $chip/dev_name)/$(cat $chip/bank/chip_name)
ln -sfn "$lines" /run/lines
closed=" $(tr '\n' ' ' </etc/qorgan/closed)"
line=0
while [ $line -lt 28 ]; do
    case $closed in *" $line "*) pull=pull-down ;; *) pull=pull-up ;; esac
    echo $pull >"$lines/sim_gpio$line/pull"
    line=$((line + 1))
done
udevadm settle

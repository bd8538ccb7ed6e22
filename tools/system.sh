#!/bin/sh
# What the tests need from the system: mosquitto, the real MQTT 5 broker, and libfaketime, which
# gives a process the clock of a box without a battery. With apt-get when it may.
set -eu
PATH=$PATH:/usr/sbin
missing=
command -v mosquitto >/dev/null || missing="$missing mosquitto"
ls /usr/lib/*/faketime/libfaketime.so.1 >/dev/null 2>&1 || missing="$missing faketime"
if [ -z "$missing" ]; then exit 0; fi
if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else sudo=no; fi
if [ "$sudo" = no ] || ! command -v apt-get >/dev/null; then
    echo "the tests need more of the system: sudo apt-get install$missing" >&2
    exit 1
fi
echo "setup: installing$missing" >&2
# shellcheck disable=SC2086 -- empty when root
$sudo apt-get update -qq
# shellcheck disable=SC2086 -- as above, and a list; no service is wanted, so none may start
$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends $missing >/dev/null

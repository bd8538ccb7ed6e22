#!/bin/sh
# What the tests need from the system: mosquitto, the real MQTT 5 broker. With apt-get when it may.
set -eu
PATH=$PATH:/usr/sbin
if command -v mosquitto >/dev/null; then exit 0; fi
if [ "$(id -u)" = 0 ]; then sudo=; elif sudo -n true 2>/dev/null; then sudo="sudo -n"; else
    echo "the tests need a real broker: sudo apt-get install mosquitto" >&2
    exit 1
fi
if ! command -v apt-get >/dev/null; then
    echo "the tests need a real broker: install mosquitto (2.0 or newer)" >&2
    exit 1
fi
echo "setup: installing mosquitto" >&2
# shellcheck disable=SC2086 -- empty when root
$sudo apt-get update -qq
# shellcheck disable=SC2086 -- as above; no service is wanted, so none may start
$sudo env RUNLEVEL=1 DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends mosquitto >/dev/null

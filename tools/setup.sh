#!/bin/sh
# Makes .venv from a hashed lock, byte-compiled, without root: setup.sh demo | dev
# Does nothing when it is up to date. A dev environment serves the demo too.
set -eu
cd "$(dirname "$0")/.."
kind=${1:?usage: setup.sh demo|dev}

stamp_of() {
    echo ".venv/.$1-$(cat "requirements-$1.lock" pyproject.toml | sha256sum | cut -c1-16)"
}

# an environment for development stays one, also when the demo is what brings it up to date
if ls .venv/.dev-* >/dev/null 2>&1; then kind=dev; fi
if [ -e "$(stamp_of dev)" ] || [ -e "$(stamp_of "$kind")" ]; then exit 0; fi

say() { echo "setup: $*" >&2; }

# The system's own Python first: it is what the gateway's users have, and on Debian it is built with
# profiles of its use, an eighth quicker than one compiled at home. PYTHON=… names another.
fits='import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))'
python=${PYTHON:-}
if [ -z "$python" ] && /usr/bin/python3 -c "import ensurepip; $fits" 2>/dev/null; then
    python=/usr/bin/python3
fi
for candidate in ${python:-python3.11 python3 python3.12 python3.13}; do
    if "$candidate" -c "$fits" 2>/dev/null; then
        python=$candidate
        break
    fi
    python=
done
if [ -z "$python" ] && [ -n "${PYTHON:-}" ]; then
    say "PYTHON=$PYTHON is no Python 3.11, 3.12 or 3.13: name another, or leave it out"
    exit 1
elif [ -z "$python" ]; then
    say "Python 3.11, 3.12 or 3.13 is needed: sudo apt-get install python3 python3-venv"
    exit 1
fi

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c 'import pip' 2>/dev/null; then
    if ! "$python" -c 'import ensurepip' 2>/dev/null; then
        if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
            say "installing python3-venv"
            apt-get update -qq && apt-get install -y -qq --no-install-recommends python3-venv >/dev/null
        else
            say "Python cannot make environments here: sudo apt-get install python3-venv"
            exit 1
        fi
    fi
    say "making .venv with $("$python" -V)"
    rm -rf .venv
    "$python" -m venv .venv
fi

say "installing what requirements-$kind.lock lists"
pip() { .venv/bin/python -m pip --disable-pip-version-check "$@"; }
if pip install -q --require-hashes -r requirements-setup.lock 2>/dev/null &&
    .venv/bin/uv pip sync -q --require-hashes --compile-bytecode "requirements-$kind.lock" 2>/dev/null; then
    :
else
    # no wheel of uv for this machine, or an index only pip is told of: slower, the same hashes
    pip install -q --require-hashes --compile -r "requirements-$kind.lock"
fi
if [ "$kind" = dev ]; then
    pip install -q --no-deps --no-build-isolation --no-index -e .
else
    # the demo runs from the checkout: one path file does what an editable install would
    "$PWD/.venv/bin/python" -c 'import pathlib, site, sys; pathlib.Path(site.getsitepackages()[0], "qorgan-checkout.pth").write_text(sys.argv[1] + "\n")' "$PWD"
fi
.venv/bin/python -m compileall -q gateway drivers simulators
rm -f .venv/.demo-* .venv/.dev-*
touch "$(stamp_of "$kind")"

"""Power cuts under the real service: an emulated machine loses its power, no promise with it.

    python -m campaigns.power [CUTS=20] [SEED=1] [NORMAL=2] [PROVE=1] [STEADY=0] [FOLDER=…]

Boots Debian 12 with systemd under QEMU (software emulation), the project's own unit on a simulated
gpiochip, a real mosquitto and two real centres on this host. Contacts close and open; at moments
the dice choose the power goes, with the broker there, away, or just back. In the end every alarm
that was confirmed and on disk by the gateway's own word must be at both centres, once, with every
chain whole and every open alarm remembered.

NORMAL is how often the same rig is cut with SQLite told not to sync (0: not shown): it must see
losses. PROVE=0 leaves out the look at the unit: READY, watchdog, lgpio's edges, lamps, a clean
stop. STEADY=1 is for a busy host: the machine's clock then counts its own instructions, and it is
slow instead of late. FOLDER is where the run is kept when it breaks (default: a new one in /tmp).
The machine is built in $QORGAN_VM, else ~/.cache/qorgan-vm: a minute, once, as root.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from campaigns.power.account import Judgement, Manner
from campaigns.power.machine import Broken, build, work_folder
from campaigns.power.proof import Proof
from campaigns.power.story import Story, plan
from campaigns.words import BROKEN, HELD, STOPPED, Wrong, asked, command

SHOWN = 12
STORIES = ("full", "normal")
FOLDER_MAX = 80
"""A unix socket's path has at most 107 characters (unix(7)); some are the file's own."""


def main(arguments: Sequence[str]) -> int:
    """Run and print; the exit code."""
    known: dict[str, int | str] = {
        "CUTS": 20,
        "SEED": 1,
        "NORMAL": 2,
        "PROVE": 1,
        "STEADY": 0,
        "FOLDER": "",
    }
    chosen = asked(arguments, known)
    if not chosen["CUTS"]:
        raise Wrong("CUTS is a whole number from 1")
    folder = _folder(str(chosen["FOLDER"]))
    signal.signal(signal.SIGTERM, _as_ctrl_c)
    try:
        code = _run(chosen, folder)
    except KeyboardInterrupt:
        print(f"stopped; what there is of it: {folder}")
        return STOPPED
    except (Broken, RuntimeError, OSError, subprocess.SubprocessError) as broken:
        print(f"broken: {broken}")
        code = BROKEN
    if code == BROKEN:
        print(f"broken: seed {chosen['SEED']}; logs, stores and disk are in {folder}")
        again = " ".join(f"{name}={chosen[name]}" for name in known if name != "FOLDER")
        print(f"  again, the same in kind: python -m campaigns.power {again}")
        return BROKEN
    for name in STORIES:
        shutil.rmtree(folder / name, ignore_errors=True)
    with contextlib.suppress(OSError):  # somebody else's files are in it
        folder.rmdir()
    print("held")
    return HELD


def _run(chosen: Mapping[str, int | str], folder: Path) -> int:
    """The cuts, and the rig's own proof; prints what came of them."""
    cuts, seed, normal = int(chosen["CUTS"]), int(chosen["SEED"]), int(chosen["NORMAL"])
    proof = Proof() if chosen["PROVE"] else None
    began = time.monotonic()

    def tell(text: str) -> None:
        print(f"  {time.monotonic() - began:5.0f} s  {text}", file=sys.stderr, flush=True)

    def story(sync: str, proof: Proof | None = None) -> Story:
        where, steady = folder / sync, bool(chosen["STEADY"])
        return Story(
            work_folder(), where, seed=seed, tell=tell, sync=sync, steady=steady, proof=proof
        )

    build(work_folder())
    print(f"{cuts} power cuts from seed {seed}, in {folder}", file=sys.stderr, flush=True)
    full = story("full", proof)
    made = full.run(plan(random.Random(seed), cuts))
    _show(made, proof, full, seed=seed, seconds=time.monotonic() - began)
    broken = [*(proof.findings if proof else []), *made.findings]
    if not made.counts["alarms promised"]:
        broken.append("no alarm was promised at all: its disk was late throughout (STEADY=1?)")
    for text in broken[:SHOWN]:
        print(f"broken: {text}")
    if len(broken) > SHOWN:
        print(f"broken: and {len(broken) - SHOWN} more")
    if normal and not _caught(story("normal"), normal):
        broken.append("blind")
        print("broken: the rig does not see what a ledger without syncs loses")
    return BROKEN if broken else HELD


def _folder(given: str) -> Path:
    """Where the run is kept; Wrong when it cannot be there."""
    if not given:
        return Path(tempfile.mkdtemp(prefix="qorgan-power-", dir="/tmp"))
    folder = Path(given).absolute()
    if len(str(folder)) > FOLDER_MAX:
        raise Wrong(f"FOLDER has at most {FOLDER_MAX} characters: sockets are in it")
    if any((folder / name).exists() for name in STORIES):
        raise Wrong(f"FOLDER={given} holds a run already: remove it, or name another")
    return folder


def _caught(story: Story, cuts: int) -> bool:
    """Whether losses are seen when SQLite does not sync and the ledger alone knew."""
    made = story.run([Manner.AWAY] * cuts)
    print(
        f"  the same rig with synchronous=NORMAL: {cuts} cuts,"
        f" {made.counts['alarms promised']} alarms promised, {made.losses} losses seen"
    )
    return made.losses > 0


def _show(made: Judgement, proof: Proof | None, story: Story, *, seed: int, seconds: float) -> None:
    cuts = len(story.lives) - 1
    print(
        f"campaign-power: {cuts} power cuts of a machine, seed {seed}, {seconds:.0f} s,"
        f" boots of {min(story.boots_s):.0f} to {max(story.boots_s):.0f} s"
    )
    for said in proof.said if proof else ():
        print(f"  {said}")
    for manner in Manner:
        number = sum(life.manner is manner for life in story.lives[:-1])
        print(f"  cuts with the {manner.value}: {number}")
    for what, count in sorted(made.counts.items()):
        print(f"  {what}: {count}")
    lost = made.losses
    doubled = sum(text.startswith("doubled") for text in made.findings)
    print(
        f"  promised and lost: {lost}; doubled: {doubled}; other findings:"
        f" {len(made.findings) - lost - doubled}"
    )
    sys.stdout.flush()


def _as_ctrl_c(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    os.environ.setdefault("LC_ALL", "C.UTF-8")
    sys.exit(command(main, __doc__ or ""))

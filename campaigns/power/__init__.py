"""Power cuts of an emulated machine with systemd inside and a simulated gpiochip.

story.py      its lives: presses, cuts, what is read afterwards
account.py    what was promised, and what came of it
proof.py      the shipped unit: ready, watchdog, edges, lamps, a clean stop
disk.py       a disk that forgets what was not synced
site.py       the surroundings: brokers, centres, contacts
machine.py    qemu; vm/ is what the image is built from
"""

"""Long runs that try to break a promise: each prints what it tried, and replays what it found.

`python -m campaigns.<name> KEY=VALUE …` (`make campaign-<name>`). They end with 0 when every
promise was held, with 1 when one was broken, with 2 when they were asked wrongly, with 130 after
Ctrl-C.

    cut/        power cuts under the real ledger and writer, on a disk in memory
    faults/     every single call to the disk, the broker and the bus goes wrong once
    kill/       kill -9 of the real process at random moments
    sim/        a told year under virtual time
    power/      power cuts of an emulated machine with systemd and a gpiochip
    words.py    what all of them read and print
"""

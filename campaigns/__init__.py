"""Long runs that try to break a promise: each prints what it tried, and replays what it found.

`python -m campaigns.<name> KEY=VALUE …` (`make campaign-<name>`). They end with 0 when every
promise was held, with 1 when one was broken, with 2 when they were asked wrongly, with 130 after
Ctrl-C.

    cut.py      power cuts under the real ledger and writer, on a disk in memory (stories.py: what
                happens until then, scribe.py: what is recorded, account.py: what must be there
                afterwards)
    faults.py   every single call to the disk, the broker and the bus goes wrong once under the
                real daemon (fault_school.py: the school, fault_disk.py, fault_broker.py,
                fault_bus.py: the calls)
    words.py    what all of them read and print
"""

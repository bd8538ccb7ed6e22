"""The only disk: the ledger, the thread that writes it, and what is still owed.

entry.py      the ledger's words                 schema.py    its tables
ledger.py     writing, and moving to another file
inquiry.py    what it can be asked               file.py      the one SQLite file
owed.py       what is owed, as ranges            kept.py      names and values
standing.py   faults not cleared                 age.py       how long it has lived
leaving.py    what leaves, and when              prune.py     which entries may
room.py       what it may take of the disk       opening.py   a sound file, or a new one
carry.py      from one file into another         mending.py   when to look for a disk
backlog.py    what waits for the disk            writer.py    the thread
disk.py       opens ledger and writer
"""

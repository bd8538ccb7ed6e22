"""The only disk: the ledger, the thread that writes it, and what is still owed.

ledger.py    what is recorded (SQL)      schema.py   its tables
inquiry.py   what can be asked of it     opening.py  how its file is had
file.py      the SQLite file (apsw)      entry.py    its words
owed.py      ranges of owed messages     kept.py     names that outlive a restart
standing.py  faults that stand           age.py      how old an entry is
prune.py     what may leave              leaving.py  what leaves, and when
room.py      how much disk it may take   carry.py    one file's contents into another
writer.py    the thread                  backlog.py  what waits to be written
mending.py   when to look for a disk     disk.py     opens ledger and thread
aside.py     corrupt files beside it     found.py    what a disk held from before
look.py      how its file is, for people
"""

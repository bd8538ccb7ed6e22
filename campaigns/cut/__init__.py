"""Power cuts under the real ledger and writer, on a disk in memory.

kinds.py      the kinds of story, by the last digit of a seed
stories.py    what happens until the cut, on a disk that stays
returning.py  the same on a disk that is away, comes back or is another
scribe.py     what is recorded, and what was acknowledged of it
account.py    what must be there afterwards
outcomes.py   what came of it
"""

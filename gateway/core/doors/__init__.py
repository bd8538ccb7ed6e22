"""One door: what its contacts, its lock and people's rights say together.

door.py    the monitor                   table.py   what an opening is
rights.py  who may open it, once         part.py    one of its wires
faults.py  parts that disagree
"""

"""Every single call to the disk, the broker and the bus goes wrong once, under the real daemon.

school.py     the day that is lived through, and what must be true after it
disk.py       the ways a call to the disk goes wrong
broker.py     the ways a call to the broker goes wrong
bus.py        the ways a call to the bus goes wrong
"""

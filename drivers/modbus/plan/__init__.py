"""Which read goes to which unit next. Pure: time comes as an argument.

plan.py     one port                     agenda.py   one unit: what is due, what it refuses
blocks.py   registers to reads           polls.py    the words between plan and bus
silence.py  is it there, when to try     load.py     a wire that cannot keep up
health.py   numbers for people
"""

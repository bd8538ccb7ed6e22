"""One unit. Pure, but for the station that holds it all together.

life.py     known, set up, may move      setup.py    its set-up as a script
settings.py which settings it needs      identity.py is it the model it should be
points.py   values to readings           eventlog.py its own log, read and acknowledged
outputs.py  one output's actions         moves.py    an action as requests
station.py  all of this, for one unit
"""

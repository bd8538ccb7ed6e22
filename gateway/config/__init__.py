"""YAML to Premises. `load` runs in a short-lived child; the daemon itself only loads `child`.

load.py      the whole way               child.py     the daemon's side of it
reader.py    YAML with lines             document.py  what was read, and its words
models.py    the file's shape (pydantic) iron.py      points, doors, buses, devices, rules
fields.py    kinds of value              files.py     files it names
cross.py     what no single key can say  findings.py  mistakes and warnings
points.py    points                      doors.py     doors: nobody locked in
buses.py     buses and units             rounds.py    how long a round on a bus takes
rules.py     local rules                 wiring.py    every wire once
explain.py   complaints to people        build.py     to Premises
traffic.py   times and megabytes         profile/     what makers say of units
"""

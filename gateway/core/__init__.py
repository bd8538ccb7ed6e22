"""Pure: facts in, facts out. No I/O, no clock, no asyncio, no logging, no dice.

model.py     the words as types          premises.py  what the configuration says
hardware.py  buses, devices, doors       profile.py   what makers say of units
action.py    what is to be driven        kinds.py     severity, code and stream of every kind
debounce.py  flicker to confirmed level  counter.py   a unit's counter to presses
monitor.py   one point's contacts        doors/       one door
alarms.py    the life of an alarm        lamp.py      what a lamp at a button shows
modes.py     drill, isolation, walk test reactions/   local rules, the order of life safety
commands.py  who is obeyed               verbs.py     what can be asked, and of what
message.py   payloads                    members.py   read strictly
jws.py       seal and open (Ed25519)     trust.py     which receipts are believed
outbox.py    what a route is owed        paths.py     is anybody there?
ranges.py    numbers as ranges           plain.py     dataclasses to JSON and back
standing.py  which faults stand          lane.py      what is on the way on one uplink
resend.py    history, number by number   timekeeping.py  can UTC be believed
hold.py      may a backlog go out yet
"""

"""kill -9 of the real process at random moments, while buttons are pressed.

school.py     the processes: gateway, broker, two centres
fingers.py    who presses
story.py      when it is killed, and what is looked at afterwards
account.py    what must be at the centres
evidence.py   what the public key alone says of their stores
planted.py    defects the campaign must catch
"""

"""What follows on the premises, with no network: fire, then lockdown, then commands.

reactions.py  events and commands to actions   order.py     the one table of life safety
locks.py      what each lock was asked for     lockdown.py  the mode, through restarts
sounding.py   sirens and lights, bounded       heard.py     open alarms, and what stays quiet
"""

"""A told year: the whole daemon under virtual time, from one seed.

year.py       its days            story.py    what people do       doors.py    the same, at doors
weather.py    what befalls them   faults.py   the faults that must follow
told.py       how it is told      rest.py     is it at rest
audit.py, causes.py, clocks.py, spans.py      the auditor: what was done against what is held
"""

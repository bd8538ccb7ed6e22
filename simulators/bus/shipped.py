"""The whole profile of a unit of which a configuration carries only the channels in use."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from pathlib import Path

from gateway.core.profile import Profile


@cache
def profile(name: str) -> Profile:
    """A shipped profile by its id. Raises ValueError where there is none, or it is wrong."""
    from gateway.config.files import Folders, Wrong  # noqa: PLC0415 -- loads YAML and pydantic
    from gateway.config.profile.profiles import load_profile  # noqa: PLC0415 -- as above

    try:
        found = load_profile(name, Folders(beside=Path("/nonexistent")))
    except Wrong as error:
        raise ValueError(str(error)) from error
    if isinstance(found, Profile):
        return found
    raise ValueError("; ".join(str(mistake) for mistake in found))


def whole(part: Profile) -> Profile:
    """The shipped profile this is a part of; `part` itself where it is none.

    A unit has all of its registers, used or not, and a block read may cross them.
    """
    try:
        every = profile(part.id)
    except ValueError:
        return part
    same = replace(
        every,
        inputs=part.inputs,
        outputs=part.outputs,
        settings=part.settings,
        event_log=part.event_log,
        unverified=part.unverified,
    )
    known = {*every.inputs, *every.outputs, *every.settings}
    if same != part or not known.issuperset({*part.inputs, *part.outputs, *part.settings}):
        return part
    return every

"""Profiles of units: YAML to Profile, every mistake at once with file, line and key.

Owns where profiles are found, what `like` takes over from another, and what may be asked of a
Profile before anything hangs on it. Runs where the configuration is checked, never in the daemon.
"""

from __future__ import annotations

import copy
import re
import warnings
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML

from gateway.config.child import Mistake
from gateway.config.document import Document, Loc, mapping, suggest
from gateway.config.explain import explain, tidied
from gateway.config.files import Folders, Wrong
from gateway.config.profile.models import ProfileFile, schema
from gateway.config.profile.review import SAFE, ProfileReview
from gateway.config.profile.unfold import unfold
from gateway.config.reader import read_document
from gateway.core.profile import Profile, Setting, When

_BESIDE = "profiles"
_FAMILIES = ("inputs", "outputs")
_PARTS = frozenset({"level", "counter", "write", "state", "pulse_on", "pulse_off"})
_STAND_INS: dict[str, Any] = {
    "id": "x",
    "vendor": "?",
    "model": "?",
    "source": "?",
    "verified": True,
}


def load_profile(name: str, folders: Folders) -> Profile | tuple[Mistake, ...]:
    """The profile of that id, or what is wrong with it, in the order of its lines.

    `name` is an id, looked for in `profiles/` beside the premises file and then among the shipped
    ones, or (it ends in `.yaml`) a file's name. Raises Wrong when there is none.
    """
    if name.endswith(".yaml"):
        path = folders.beside / name
        if not path.is_file():
            raise Wrong(f"there is no file {path}", "name a profile's file, or its id")
    else:
        found = _find(name, (folders.beside / _BESIDE, _shipped_folder()))
        if found is None:
            known = (*_ids(folders.beside / _BESIDE), *shipped())
            raise Wrong(f"there is no profile {name!r}", suggest(name, sorted(set(known))))
        path = found
    document, mistakes = _read(path, seen=())
    if document is None:
        return tuple(mistakes)
    file, more = _judged(document, path.stem)
    every = sorted([*mistakes, *more], key=lambda mistake: mistake.line)
    return tuple(every) if every else unfold(file)


def shipped() -> tuple[str, ...]:
    """The ids of the profiles that come with the gateway, in order."""
    return _ids(_shipped_folder())


def profile_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of a profile, with descriptions for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **tidied(schema())}


def narrowed(profile: Profile, used: Collection[str]) -> Profile:
    """The profile with the channels in `used` only, and the settings that can concern them.

    Settings that apply ALWAYS stay, whosever they are. One register that several channels want to
    hold the same is named once. The event log stays only where one of its flags is used: reading
    acknowledges, and what nobody wants here may be wanted by somebody else.
    """
    keep = frozenset(used)
    settings: dict[tuple[object, ...], Setting] = {}
    for setting in profile.settings:
        if setting.when is When.ALWAYS or setting.channel in keep:
            # PERSON_OPERATED and the safe states depend on the channel: theirs stay apart.
            owner = setting.channel if setting.when in SAFE | {When.PERSON_OPERATED} else None
            place = (setting.register, setting.value, setting.when, owner)
            settings.setdefault(place, setting)
    inputs = tuple(channel for channel in profile.inputs if channel.name in keep)
    logged = any(channel.level is None and channel.counter is None for channel in inputs)
    return replace(
        profile,
        inputs=inputs,
        outputs=tuple(channel for channel in profile.outputs if channel.name in keep),
        settings=tuple(settings.values()),
        event_log=profile.event_log if logged else None,
        unverified=doubts(profile, keep) if profile.verified else profile.unverified,
    )


def has_counter(profile: Profile, channel: str) -> bool:
    """True where a press between two polls is not missed; KeyError names an unknown input.

    By a counter whose place is verified, or because the channel is a flag of an event log.
    """
    found = profile.input(channel)
    if found.level is None and found.counter is None:
        return True
    doubtful = {channel, f"{channel}.counter"} & set(profile.unverified)
    return found.counter is not None and profile.verified and not doubtful


def safe_states(profile: Profile, output: str) -> frozenset[When]:
    """Of SAFE_KEEP, SAFE_OFF and SAFE_ON those the unit can be told to do with that output.

    Empty where it knows no such thing: relays of such units mostly keep their state. KeyError
    names an unknown output.
    """
    profile.output(output)
    return SAFE & {setting.when for setting in profile.settings if setting.channel == output}


def doubts(profile: Profile, used: Collection[str]) -> tuple[str, ...]:
    """What no second source confirms and yet concerns these channels, as dotted names.

    The profile's own id, and nothing else, where all of it is unverified.
    """
    if not profile.verified:
        return (profile.id,)
    keep = frozenset(used)
    channels = {channel.name for channel in profile.inputs}
    channels |= {channel.name for channel in profile.outputs}
    logged = {c.name for c in profile.inputs if c.level is None and c.counter is None}
    found = []
    for name in profile.unverified:
        owner = name.split(".")[0]
        if owner in keep or (owner not in channels and (name != "event_log" or logged & keep)):
            found.append(name)
    return tuple(found)


# --- finding and reading --------------------------------------------------------------------


def _shipped_folder() -> Path:
    """In an installed gateway its own share, in a checkout the project's folder."""
    package = Path(__file__).parents[2]
    installed = package / "share" / "config" / "profiles"
    return installed if installed.is_dir() else package.parent / "config" / "profiles"


def _ids(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def _find(name: str, folders: Collection[Path], *, but: Collection[Path] = ()) -> Path | None:
    if not re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", name):
        return None
    paths = [folder / f"{name}.yaml" for folder in folders]
    return next((path for path in paths if path.is_file() and path not in but), None)


def _compose(text: str) -> Any:
    """ruamel.yaml's tree of nodes: it keeps lines, and duplicate keys stay visible."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an anchor that is used again is allowed by YAML
        return YAML(typ="safe", pure=True).compose(text)


def _read(path: Path, *, seen: tuple[Path, ...]) -> tuple[Document | None, list[Mistake]]:
    """The file, completed from the one it is `like`; mistakes of both as YAML, and of the other."""
    document, mistakes = read_document(path, _compose)
    mistakes = [_said_of_profiles(mistake) for mistake in mistakes]
    like = document.data.get("like") if document else None
    if document is None or not isinstance(like, str):
        return document, mistakes
    base = _find(like, (path.parent, _shipped_folder()), but=(*seen, path))
    if base is None:
        mistakes.append(document.mistake(("like",), *_nobody(like, path)))
        for key, stand_in in _STAND_INS.items():
            document.data.setdefault(key, stand_in)
        return document, mistakes
    other, wrong = _read(base, seen=(*seen, path))
    if other is not None:
        wrong += _judged(other, base.stem)[1]
    if other is None or wrong:
        return None, mistakes + wrong
    own = {"id", *document.data}
    document.data.update({key: value for key, value in other.data.items() if key not in own})
    return document, mistakes


def _nobody(like: str, path: Path) -> tuple[str, str]:
    """Why there is nothing to be like, and what would be right."""
    known = sorted({*_ids(path.parent), *shipped()} - {path.stem})
    if like in known:
        return f"goes round in a circle: {like} is like this one", "name another profile"
    return f"there is no profile {like!r}", suggest(like, known)


def _said_of_profiles(mistake: Mistake) -> Mistake:
    """The reader speaks of premises files; the same said of a profile."""
    right = mistake.right.replace("config/premises.yaml", "config/profiles/generic.yaml")
    return replace(mistake, right=right.replace("`premises:`", "`id:`"))


# --- judging --------------------------------------------------------------------------------


def _judged(document: Document, stem: str) -> tuple[ProfileFile, list[Mistake]]:
    """The models of a document and all that is wrong with it, in shape and in sense."""
    complaints = _complaints(document.data)
    mistakes = explain(document, complaints, profile_schema() if complaints else {})
    spoken = frozenset(_place(complaint) for complaint in complaints)
    file = _readable(document.data, complaints)
    review = ProfileReview(document, file, spoken)
    review.run()
    if file.id != stem:
        right = f"write id: {stem}, or rename the file"
        review.wrong(("id",), f"{file.id} is not the file's name", right)
    return file, mistakes + review.mistakes


def _complaints(data: Mapping[str, Any]) -> list[dict[str, Any]]:
    try:
        ProfileFile.model_validate(data)
    except ValidationError as error:
        return [dict(item) for item in error.errors(include_url=False)]
    return []


def _place(complaint: Mapping[str, Any]) -> Loc:
    # pydantic marks a complaint of a mapping's key, not its value, with this last part.
    return tuple(part for part in complaint["loc"] if part != "[key]")


def _readable(data: dict[str, Any], complaints: list[dict[str, Any]]) -> ProfileFile:
    """The models of what has a right shape, so that the rest is judged in the same run."""
    left = {**_STAND_INS, **copy.deepcopy(data)} if complaints else data
    while complaints:
        for complaint in complaints:
            _drop(left, _place(complaint))
        complaints = _complaints(left)
    return ProfileFile.model_validate(left)


def _drop(data: dict[str, Any], loc: Loc) -> None:
    """Take out the smallest part that can be missing: a part of a family, a family, a setting."""
    piece = _piece(loc)
    parent = data
    for part in piece[:-1]:
        parent = mapping(parent.get(str(part)))
    if piece[-1] not in parent and len(piece) > 1:
        _drop(data, piece[:-1])  # what is missing was needed
        return
    parent.pop(str(piece[-1]), None)
    if len(piece) == 1 and piece[0] in _STAND_INS:
        data[str(piece[0])] = _STAND_INS[str(piece[0])]


def _piece(loc: Loc) -> Loc:
    if loc[0] in _FAMILIES and len(loc) > 2 and loc[2] == "settings":
        return loc[:4]
    if loc[0] in _FAMILIES and len(loc) > 2 and loc[2] in _PARTS:
        return loc[:3]
    if loc[0] in {*_FAMILIES, "settings"}:
        return loc[:2]
    return loc[:1]

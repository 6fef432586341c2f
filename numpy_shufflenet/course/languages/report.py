"""What `numpy-shufflenet course translate` does: update all files of a language, or check them."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from numpy_shufflenet.course.languages import catalogues, checks, terms
from numpy_shufflenet.course.languages.catalogues import Source
from numpy_shufflenet.course.lessons import Lesson


@dataclass
class State:
    """The state of one PO file."""

    source: Source
    exists: bool
    translated: int = 0
    fuzzy: int = 0
    missing: int = 0
    #: The messages of an existing file that lack a translation, in sentences.
    missing_messages: list[str] = field(default_factory=list)
    #: What has to be corrected, in sentences.
    problems: list[str] = field(default_factory=list)
    #: What is probably wrong.
    warnings: list[str] = field(default_factory=list)


def update_files(language: str, names: Sequence[str] = (), *, check: bool = False) -> list[State]:
    """Update the PO files of a language, unless `check`; return the state of each.

    Parameters
    ----------
    language : str
        A key of `locale.LANGUAGES`.
    names : sequence of str
        Files to make if they don't exist: numbers of lessons, or names of pages.

    Raises
    ------
    ImportError
        If Babel is missing; the message names the extra to install.
    ValueError
        If there is nothing of such a name.
    """
    found = catalogues.sources(language)
    wanted = {_named(name, found) for name in names}
    old = {s.name: catalogues.read(s.path) for s in found if s.path.exists()}
    known = catalogues.translations(old.values())
    states = []
    for source in found:
        exists = source.path.exists()
        if not (exists or source.required or source.name in wanted):
            states.append(State(source, False, missing=len(source.messages)))
            continue
        before = old.get(source.name) or catalogues.read(source.path)
        new = catalogues.updated(before, source.messages, {} if check else known)
        if not check:
            catalogues.write(new, source, language)
        state = _state(source, new)
        if check and source.lesson:
            state.problems += _faults_of_code(source.lesson)
        if check:
            gone = [m.id for m in before if m.id and m.id not in source.messages]
            state.problems += [f"no longer in the source: {_short(text)}" for text in gone]
        states.append(state)
    return states


def _named(name: str, found: Sequence[Source]) -> str:
    """Return the name of the source that a user means."""
    for source in found:
        if name == source.name or (name.isdigit() and source.name.startswith(f"{int(name):02}_")):
            return source.name
    raise ValueError(f"there is no {name!r}; there are {', '.join(s.name for s in found)}")


def _faults_of_code(lesson: Lesson) -> list[str]:
    """Return what is wrong with the translated code cells of a lesson."""
    try:
        lesson.read()
    except ValueError as error:
        return [str(error)]
    return []


def _state(source: Source, catalogue: object) -> State:
    state = State(source, True)
    for message in catalogue:  # type: ignore[attr-defined]
        if not message.id:
            continue
        if message.fuzzy:
            state.fuzzy += 1
            state.problems.append(f"changed in English: {_short(message.id)}")
        elif not message.string:
            state.missing += 1
            state.missing_messages.append(f"not translated: {_short(message.id)}")
        else:
            state.translated += 1
            kind = source.messages[message.id]
            state.problems += [
                f"{problem}: {_short(message.id)}"
                for problem in checks.faults_of(message.id, message.string, kind)
            ]
            state.warnings += [
                f"{warning}: {_short(message.id)}"
                for warning in terms.warnings_of(message.id, message.string)
            ]
    return state


def _short(text: str) -> str:
    text = " ".join(text.split())
    return repr(text if len(text) <= 70 else f"{text[:67]}...")

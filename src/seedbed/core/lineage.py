"""The family of an artifact: its ancestors up to the corpora, as a tree of text.

An ancestor that is reached twice (a model's tokenizer and its tokens come from one corpus) is unfolded once and named
again afterwards. Descendants are left out: they change whenever something is made, and ``Library.children`` has them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from seedbed.core.artifacts import Artifact, Library
from seedbed.core.errors import CorruptError, NotFoundError
from seedbed.core.progress import progress


@dataclass(frozen=True)
class Relative:
    """An artifact in a family.

    Attributes:
        artifact: None where the library does not hold it any more.
        repeated: its own parents were shown before.
    """

    id: str
    artifact: Artifact | None
    names: tuple[str, ...]
    parents: tuple[Relative, ...]
    repeated: bool = False

    def walk(self, depth: int = 0) -> Iterator[tuple[int, Relative]]:
        """Yield itself and its ancestors, depth first, with their distance; repeated ones too."""
        yield depth, self
        for parent in self.parents:
            yield from parent.walk(depth + 1)

    def ancestors(self) -> Iterator[Relative]:
        """Yield itself and its ancestors, each once."""
        return (relative for _, relative in self.walk() if not relative.repeated)


def family(library: Library, artifact: Artifact) -> Relative:
    """Return an artifact with all its ancestors. Raises CorruptError: an ancestor's manifest cannot be read."""
    named: dict[str, list[str]] = {}
    for name, target in library.names().items():
        named.setdefault(target, []).append(name)
    seen: set[str] = set()

    def relative(identity: str, found: Artifact | None) -> Relative:
        names, repeated = tuple(named.get(identity, ())), identity in seen
        seen.add(identity)
        above = () if found is None or repeated else found.manifest.parents
        parents = tuple(relative(parent, _held(library, parent)) for parent in above)
        return Relative(identity, found, names, parents, repeated)

    return relative(artifact.id, artifact)


def _held(library: Library, identity: str) -> Artifact | None:
    try:
        return library.get(identity)
    except NotFoundError:
        return None


def tree_lines(root: Relative, details: Callable[[Artifact], Sequence[str]] = lambda artifact: ()) -> Iterator[str]:
    """Yield the family as lines: kind, beginning of the id, names.

    Args:
        details: further lines below an artifact, such as a corpus's files.
    """
    yield _label(root)
    if root.artifact is None or root.repeated:
        return
    branches = [[line] for line in details(root.artifact)] + [list(tree_lines(p, details)) for p in root.parents]
    for number, (first, *rest) in enumerate(branches, 1):
        last = number == len(branches)
        yield ("└─ " if last else "├─ ") + first
        yield from (("   " if last else "│  ") + line for line in rest)


def _label(relative: Relative) -> str:
    kind = "missing" if relative.artifact is None else relative.artifact.kind
    words = [kind, relative.id[:12], ", ".join(relative.names), "(see above)" if relative.repeated else ""]
    return " ".join(word for word in words if word)


def verify_family(root: Relative) -> int:
    """Hash every file of an artifact and its ancestors again. Returns how many artifacts are whole.

    Raises:
        CorruptError: something is damaged or missing; everything was looked at, and all damage is named.
    """
    relatives = list(root.ancestors())
    total = sum(relative.artifact.size for relative in relatives if relative.artifact is not None)
    damage: list[CorruptError] = []
    with progress("verifying", total / 1e6, "MB") as bar:
        for relative in relatives:
            if relative.artifact is None:
                why = "something was made from it, but the library does not hold it"
                fix = "copy it from where it was made, or make it again"
                damage.append(CorruptError(f"{relative.id[:12]} is missing", why=why, fix=fix))
                continue
            try:
                relative.artifact.verify()
            except CorruptError as error:
                damage.append(error)
            bar.advance(relative.artifact.size / 1e6)
    if not damage:
        return len(relatives)
    what = damage[0].what if len(damage) == 1 else f"{len(damage)} of {len(relatives)} artifacts are damaged"
    raise CorruptError(what, why="; ".join(one.why for one in damage), fix="; ".join(one.fix for one in damage))

"""audiocraft's configuration of a training, xp.cfg: YAML of OmegaConf, whose settings refer to each other.

`${a.b}` is the setting of that name, `${.b}` its neighbour, `${..b}` its parent's neighbour. They are
resolved where they are read: other parts of a configuration use what only the training's machine has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import yaml

from musicsteer.torchscript.source import CheckpointError

MISSING = "???"  # OmegaConf's word for a setting that has to be given


@dataclass(frozen=True)
class Config:
    """A configuration; `where` names its file in messages."""

    root: dict[str, Any]
    where: str

    def fail(self, what: str) -> CheckpointError:
        """An error that names the file."""
        return CheckpointError(f"{self.where}: {what}")

    def get(self, path: str, default: Any = None) -> Any:
        """The setting at a dotted path, resolved; the default if it or its section is missing or null.

        Raises:
            CheckpointError: it refers to nothing, to itself, or to what only OmegaConf's resolvers know.
        """
        found = self._walk(path.split("."), ())
        return default if found is None or found == MISSING else found

    def require(self, path: str) -> Any:
        """The setting, which has to be there.

        Raises:
            CheckpointError: it is missing.
        """
        found = self.get(path)
        if found is None:
            raise self.fail(f"xp.cfg lacks {path}")
        return found

    def number(self, path: str) -> float:
        """The setting, which has to be a number above 0.

        Raises:
            CheckpointError: it is missing or something else.
        """
        found = self.require(path)
        if isinstance(found, bool) or not isinstance(found, (int, float)) or not 0 < found < float("inf"):
            raise self.fail(f"{path} is {found!r}; expected a number above 0")
        return found

    def count(self, path: str) -> int:
        """The setting, which has to be a whole number above 0.

        Raises:
            CheckpointError: it is missing or something else.
        """
        found = self.number(path)
        if found != int(found):
            raise self.fail(f"{path} is {found!r}; expected a whole number")
        return int(found)

    def section(self, path: str) -> dict[str, Any]:
        """The settings at a path; none if it is missing.

        Raises:
            CheckpointError: it is not a section.
        """
        found = self.get(path, {})
        if not isinstance(found, dict):
            raise self.fail(f"{path} is {found!r}; expected settings")
        return found

    def _walk(self, keys: list[str], pending: tuple[str, ...]) -> Any:
        """What is at the end of a path, resolved; None if there is nothing."""
        node: Any = self.root
        for i, key in enumerate(keys):
            if isinstance(node, str):  # a section that is another one
                node = self._expand(node, keys[: i - 1], pending)
            if isinstance(node, list) and key.isdecimal() and int(key) < len(node):
                node = node[int(key)]
            else:
                node = node.get(key) if isinstance(node, dict) else None
        return self._resolve(node, keys, pending)

    def _resolve(self, node: Any, keys: list[str], pending: tuple[str, ...]) -> Any:
        """A node at a path, and all that is in it."""
        if isinstance(node, dict):
            return {key: self._resolve(value, [*keys, str(key)], pending) for key, value in node.items()}
        if isinstance(node, list):
            return [self._resolve(value, [*keys, str(i)], pending) for i, value in enumerate(node)]
        return self._expand(node, keys[:-1], pending) if isinstance(node, str) else node

    def _expand(self, text: str, container: list[str], pending: tuple[str, ...]) -> Any:
        """A text in `container` with its references replaced; one that is nothing else keeps its type."""
        # The innermost come first: ${a.${b}}.
        while found := re.search(r"(?<!\\)\$\{([^${}]*)\}", text):
            value = self._look_up(found[1].strip(), container, pending)
            if found[0] == text:
                return value
            text = text[: found.start()] + str(value) + text[found.end() :]
        return text.replace("\\${", "${")

    def _look_up(self, name: str, container: list[str], pending: tuple[str, ...]) -> Any:
        """The setting that ${name} means."""
        if ":" in name:
            resolver = name.split(":")[0]
            raise self.fail(f"${{{name}}} in xp.cfg needs the resolver {resolver}; write its value there")
        dots = len(name) - len(name.lstrip("."))
        if dots > len(container) + 1:
            raise self.fail(f"${{{name}}} in xp.cfg leads out of the configuration")
        base = container[: len(container) - dots + 1] if dots else []
        keys = [*base, *re.sub(r"\[(\w+)\]", r".\1", name[dots:]).split(".")]
        path = ".".join(keys)
        if path in pending:
            raise self.fail(f"${{{name}}} in xp.cfg refers to itself")
        value = self._walk(keys, (*pending, path))
        if value is None or value == MISSING:
            raise self.fail(f"${{{name}}} in xp.cfg refers to a setting without a value")
        return value


def read_config(text: Any, where: str) -> Config:
    """The configuration in xp.cfg.

    Raises:
        CheckpointError: it is not YAML of settings.
    """
    try:
        root = yaml.safe_load(text) if isinstance(text, str) else None
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())[:120]
        raise CheckpointError(f"{where}: xp.cfg is not YAML: {reason}") from error
    if not isinstance(root, dict):
        raise CheckpointError(f"{where}: xp.cfg holds no settings; export it with audiocraft")
    return Config(root, where)

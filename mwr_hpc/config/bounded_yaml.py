"""YAML within bounds: no aliases, which can stand for more than any memory holds, no size or depth without end."""

from typing import Any

import yaml

LARGEST = 2**18
"""Characters: the parser takes seconds for as many."""


class _Loader(yaml.SafeLoader):
    """Refuses aliases."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("it has aliases (*name); write out what they stand for")
        return super().compose_node(parent, index)


def load_yaml(text: str) -> Any:
    """Parse YAML of plain values.

    Raises
    ------
    yaml.YAMLError
        It is no YAML, has aliases, nests too deep or is too long.
    """
    if len(text) > LARGEST:
        raise yaml.YAMLError(f"{len(text)} characters, expected at most {LARGEST}")
    loader = _Loader(text)
    try:
        return loader.get_single_data()
    except RecursionError:
        raise yaml.YAMLError("it nests too deep") from None
    finally:
        loader.dispose()

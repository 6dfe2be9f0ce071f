"""Turns the words that a user typed after a command into values by option.

MWR's command lines are understood as they stand: dashes or underscores, flags with or without True or False, two words
for a tilt range.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic.fields import FieldInfo

from mwr_hpc.config.fields import Settings, is_argument, is_flag, is_list, normalised, option_info, takes_none
from mwr_hpc.config.loading import unknown_option
from mwr_hpc.config.values import absolute_path, split_words
from mwr_hpc.errors import ConfigError

TRUTH_WORDS = ("true", "false", "yes", "no", "on", "off", "1", "0")


@dataclass(frozen=True)
class Given:
    """Content of a command line: values by option, the options that every command has, and the words as given."""

    values: dict[str, object] = field(default_factory=dict)
    config: Path | None = None
    site: Path | None = None
    json: bool = False
    words: tuple[str, ...] = field(default=(), compare=False)


class WordReader:
    """Reads the words after a command.

    Parameters
    ----------
    settings
        What the command's options are made from.
    words
        As the shell gave them.
    has_json
        Whether the command can print JSON.
    """

    def __init__(self, settings: type[Settings], words: list[str], has_json: bool) -> None:
        self._settings = settings
        self._fields = settings.options()
        self._general = ("config", "site", "json") if has_json else ("config", "site")
        self._spellings = settings.spellings() | {name: name for name in self._general}
        self._given = tuple(words)
        self._words = deque(words)
        self._values: dict[str, object] = {}
        self._bare: list[str] = []

    def read(self) -> Given:
        """Return the values by option.

        Raises
        ------
        ConfigError
            An unknown option, an option without its value, or a bare word that the command has no use for.
        """
        while self._words:
            word = self._words.popleft()
            if word == "--":
                self._bare += self._words
                break
            if word.startswith("-") and not _is_number(word):
                self._read_option(word)
            else:
                self._bare.append(word)
        for word in self._bare:
            self._place(word)
        general = {name: self._values.pop(name) for name in self._general if name in self._values}
        for name in ("config", "site"):
            if name in general:
                try:
                    absolute_path(Path(str(general[name])))
                except ValueError as error:
                    raise ConfigError(f"--{name} {general[name]} (command line): {error}") from None
                general[name] = Path(str(general[name])).expanduser()
        return Given(self._values, **general, words=self._given)  # type: ignore[arg-type]  # two paths and a flag, by name

    def _read_option(self, word: str) -> None:
        spelling, equals, attached = word.partition("=")
        name = self._spellings.get(normalised(spelling))
        if name is None and self._is_negated_flag(spelling) and not equals:
            self._values[self._spellings[normalised(spelling).removeprefix("no_")]] = False
        elif name is None or not word.startswith("--"):
            where = f"'{self._settings.help_line()}'"
            raise unknown_option(spelling, self._advertised(), "command line", where)
        elif name == "json":
            self._values[name] = True
        elif name in self._general:
            self._values[name] = attached if equals else self._next_word(spelling)
        else:
            self._read_value(name, spelling, attached if equals else None)

    def _advertised(self) -> list[str]:
        """Return the options that the help shows, as it spells them."""
        shown = {name: field for name, field in self._fields.items() if not is_argument(field)}
        names = [spelling for name, field in shown.items() for spelling in (name, *option_info(field).shown_aliases)]
        return [f"--{name}" for name in (*names, *self._general)]

    def _read_value(self, name: str, spelling: str, attached: str | None) -> None:
        option = self._fields[name]
        info = option_info(option)
        if is_flag(option) and attached is None:
            self._values[name] = self._words.popleft() if self._truth_follows(option) else True
        elif info.values > 1:
            self._values[name] = attached if attached is not None else self._next_numbers(spelling, info.values)
        elif is_list(option) and not info.positional:
            self._values[name] = [attached] if attached is not None else self._words_until_option(spelling)
        else:
            value = attached if attached is not None else self._next_word(spelling)
            if info.positional and not _suits(option, value):
                self._bare.append(value)
            else:
                self._set_positional(name, value)

    def _is_negated_flag(self, spelling: str) -> bool:
        name = self._spellings.get(normalised(spelling).removeprefix("no_"))
        return normalised(spelling).startswith("no_") and name in self._fields and is_flag(self._fields[name])

    def _truth_follows(self, option: FieldInfo) -> bool:
        words = (*TRUTH_WORDS, "none", "auto") if takes_none(option) else TRUTH_WORDS
        return bool(self._words) and self._words[0].lower() in words

    def _next_word(self, spelling: str) -> str:
        if not self._words or self._words[0].startswith("--"):
            raise ConfigError(f"command line: {spelling} stands without its value; add it, or leave the option out")
        return self._words.popleft()

    def _next_numbers(self, spelling: str, count: int) -> str:
        text = self._next_word(spelling)
        while self._words and len(_split(text)) < count and all(map(_is_number, _split(self._words[0]))):
            text += " " + self._words.popleft()
        return text

    def _words_until_option(self, spelling: str) -> list[str]:
        words = [self._next_word(spelling)]
        while self._words and not self._words[0].startswith("--"):
            words.append(self._words.popleft())
        return words

    def _place(self, word: str) -> None:
        """Give a bare word to the option that takes its kind: models, lists, or whatever else the command works on."""
        positional = [(name, option) for name, option in self._fields.items() if option_info(option).positional]
        chosen = next(
            (name for name, option in positional if option_info(option).suffixes and _suits(option, word)), None
        )
        chosen = chosen or next(
            (
                name
                for name, option in positional
                if not option_info(option).suffixes and (is_list(option) or name not in self._values)
            ),
            None,
        )
        if chosen is None or (chosen in self._values and not is_list(self._fields[chosen])):
            raise ConfigError(
                f"command line: '{word}' belongs to no option; "
                f"options begin with two dashes, see '{self._settings.help_line()}'"
            )
        self._set_positional(chosen, word)

    def _set_positional(self, name: str, value: str) -> None:
        if is_list(self._fields[name]):
            self._values[name] = [*self._values.get(name, []), value]  # type: ignore[misc]  # lists stay lists
        else:
            self._values[name] = value


def with_value(words: Sequence[str], settings: type[Settings], name: str, value: object) -> list[str]:
    """Return the words of a command line with another value for an option that takes one word; None: without it."""
    spellings, kept = settings.spellings(), deque(words)
    changed: list[str] = []
    while kept:
        spelling, equals, _ = (word := kept.popleft()).partition("=")
        if word.startswith("--") and spellings.get(normalised(spelling)) == name:
            if not equals and kept:
                kept.popleft()
        else:
            changed.append(word)
    return changed if value is None else [*changed, f"--{name}", str(value)]


def _suits(option: FieldInfo, value: str) -> bool:
    suffixes = option_info(option).suffixes
    return not suffixes or Path(value).suffix.lower() in suffixes or value.lower() == "none"


def _split(text: str) -> list[str]:
    words = split_words(text)
    return words if isinstance(words, list) else []


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True

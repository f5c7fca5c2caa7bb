"""The options of a command: declared by the function that does its work, put in panels here."""

from __future__ import annotations

import functools
import inspect
import os
import re
import types
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, TypeVar, cast, get_args, get_origin, get_type_hints

from cyclopts import Group, Parameter, Token

from cortexia_video.cli import GIVEN
from cortexia_video.cli import OPTIONS as OPTIONS
from cortexia_video.cli.option_words import to_pages
from cortexia_video.errors import InputError
from cortexia_video.models.protocol import CommercialOnly, InputSize

_TITLES = ("Meaning", "Output", "Video", "Model", "Camera", "Points", "Run", "Cluster")
MEANING, OUTPUT, VIDEO, MODEL, CAMERA, POINTS, RUN, CLUSTER = (
    Group(title, sort_key=number) for number, title in enumerate(_TITLES, 1)
)
_PATH = {"metavar": "PATH"}
Output = Annotated[str, Parameter(alias="-o", **_PATH)]
_SPELLED: dict[str, Any] = {
    "convention": {"name": "--from"},
    "truth_convention": {"name": "--truth-from"},
    "output": {"alias": "-o"},
    **dict.fromkeys(("colmap", "intrinsics", "points", "transforms"), _PATH),
}
MODEL_OPTIONS = (
    "backend",
    "precision",
    "max_error",
    "compile",
    "kind",
    "input_size",
    "multiple_of",
    "normalize",
    "output_name",
    "thorough",
    "canonical_f",
    "commercial_only",
)
Command = TypeVar("Command", bound=Callable[..., Any])
Panel = tuple[Group, Sequence[str]]


def take_options(function: Callable[..., Any] | None = None, *panels: Panel) -> Callable[[Command], Command]:
    """Return a command options that are parameters of a function, with its types, defaults and help texts.

    The command takes them as `**options`. An option of its own that its docstring does not describe is
    described by the function's.

    Args:
        function: What declares the options; a class stands for its `__init__`.
        panels: Which options, in their order, each under the title of its panel.
    """

    def take(command: Command) -> Command:
        texts = {**_read_texts(function), **_read_texts(command)}
        declared = inspect.signature(function).parameters if function else {}
        hints = get_type_hints(function.__init__ if inspect.isclass(function) else function or take)
        own = inspect.signature(command, eval_str=True).parameters.values()
        kept = []
        for each in own:
            marks = getattr(each.annotation, "__metadata__", ())
            is_described = any(isinstance(mark, Parameter) and mark.help for mark in marks)
            if each.name in texts and not is_described:
                each = each.replace(annotation=Annotated[each.annotation, Parameter(help=texts[each.name])])
            if each.kind is not each.VAR_KEYWORD:
                kept.append(each)
        taken = []
        for group, names in panels:
            for name in names:
                hint = hints[name]
                choices = get_args(hint) if isinstance(hint, types.UnionType) else ()
                is_path = any(get_origin(each) is os.PathLike for each in choices)
                spelled = {**(_PATH if is_path else {}), **_SPELLED.get(name, {})}
                shown = Parameter(group=group, help=texts[name], **spelled)
                if str in choices and hint not in _CONVERTED:  # text for a path or a model
                    hint = str | None if type(None) in choices else str
                taken.append(
                    inspect.Parameter(
                        name,
                        inspect.Parameter.KEYWORD_ONLY,
                        default=declared[name].default,
                        annotation=Annotated[hint, _CONVERTED.get(hint, Parameter()), shown],
                    )
                )
        usual = {each.name: each.default for each in taken}  # cyclopts hands over only what was given

        @functools.wraps(command)
        def run(*arguments: Any, **options: Any) -> Any:
            return command(*arguments, **{**usual, **options})

        run.__signature__ = inspect.Signature([*kept, *taken])  # type: ignore[attr-defined]
        run.__annotations__ = {each.name: each.annotation for each in kept}
        return cast(Command, run)

    return take


def parse_size(text: str, name: str = "`input_size`") -> InputSize:
    """Read 518 as a short side and 392x518 as height and width; raise `InputError`, which says `name`."""
    match = re.fullmatch(r"([1-9]\d*)(?:x([1-9]\d*))?", text)
    if match is None:
        raise InputError(f"{name} must be like 518 or 392x518, got {text!r}")
    height, width = match.groups()
    return (int(height), int(width)) if width else int(height)


def _convert_sides(_: Any, tokens: Sequence[Token]) -> tuple[int, int]:
    size = parse_size(tokens[0].value, "`size`")
    if isinstance(size, int):
        raise InputError(f"`size` must be like 392x518, got {tokens[0].value!r}")
    return size


def _convert_terms(_: Any, tokens: Sequence[Token]) -> CommercialOnly:
    value = tokens[0].value
    if value not in (GIVEN, "strict"):
        raise InputError(f"`commercial_only` is strict, or stands alone, got {value!r}")
    return "strict" if value == "strict" else True


# 392x518 for a size, and a,b for several words
_CONVERTED: dict[Any, Parameter] = {
    InputSize | None: Parameter(
        converter=lambda _, tokens: parse_size(tokens[0].value), n_tokens=1, metavar="SIZE"
    ),
    tuple[int, int] | None: Parameter(converter=_convert_sides, n_tokens=1, metavar="SIZE"),
    CommercialOnly: Parameter(converter=_convert_terms, n_tokens=1, metavar="[=strict]", show_choices=False),
    Sequence[str]: Parameter(
        converter=lambda _, tokens: [word.strip() for word in tokens[0].value.split(",") if word.strip()],
        n_tokens=1,
        metavar="WORDS",
    ),
}


def _read_texts(function: Callable[..., Any] | None) -> Mapping[str, str]:
    """Return what a docstring says of each parameter, in one line, without what is so in Python alone."""
    from docstring_parser import parse

    parameters = parse(inspect.getdoc(function) or "").params if function else []
    return {
        each.arg_name: to_pages(" ".join((each.description or "").split()).partition(" In Python")[0])
        for each in parameters
    }

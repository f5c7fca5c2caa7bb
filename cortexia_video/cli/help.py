"""`cortexia help`: of a command, or a page of the documentation, which is in the package."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import Console
from rich.markdown import Markdown

from cortexia_video.cli import app
from cortexia_video.cli.options import take_options
from cortexia_video.errors import InputError, propose
from cortexia_video.storage.paths import read_named_text

_LINK = re.compile(r"\[([^\]]+)\]\((?!https?:)(?:\.\./)*([\w/]+)\.md[^)]*\)")  # to another page


@take_options()
def help_command(words: Annotated[tuple[str, ...], Parameter(name="COMMAND|PAGE")] = (), /) -> None:
    """Show the help of a command, or a page of the documentation.

    Without either, all commands.

        cortexia help estimate
        cortexia help dataset build
        cortexia help formats
        cortexia help docs/align

    Exit code: 0 shown, 2 neither a command nor a page.

    Args:
        words: A command, or the name of a page, with docs/ where there is a command of that name; a wrong one
            is answered with all pages.
    """
    package = Path(__file__).parents[1]  # which holds the pages, unless it was not installed
    folder = next(each for each in (package / "docs", package.parent / "docs") if each.is_dir())
    names = {each: each.relative_to(folder).with_suffix("").as_posix() for each in folder.rglob("*.md")}
    pages = {names[each]: each for each in sorted(names) if not names[each].startswith("decisions/")}
    page = pages.get("/".join(words).removeprefix("docs/").removesuffix(".md"))
    commands = [name for name in app if not name.startswith("-")]
    if words and words[0] in commands and (len(words) == 1 or not page):
        app.help_print([*words])
    elif page:
        text, console = read_named_text(page), Console()
        shown = _LINK.sub(r"\1 (`cortexia help docs/\2`)", text)
        console.print(Markdown(shown, hyperlinks=False)) if console.is_terminal else print(text)
    elif words:
        near = propose("/".join(words), [*commands, *pages])
        raise InputError(
            f"no command and no page is called {' '.join(words)}: {near}pages are {', '.join(pages)}"
        )
    else:
        app.help_print([])

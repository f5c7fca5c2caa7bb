"""HTML and SVG as elements: whatever text is put into them is escaped when they are written."""

from __future__ import annotations

from collections.abc import Iterable
from xml.etree.ElementTree import Element, tostring

from cortexia_video.errors import printable

Content = Element | str | None


def element(tag: str, *content: Content, **attributes: object) -> Element:
    """Make an element. class_ stands for class, aria_label for aria-label; None is left out."""
    made = Element(tag)
    for name, value in attributes.items():
        if value is not None:
            made.set(name.rstrip("_").replace("_", "-"), printable(str(value)))
    return append(made, content)


def append(parent: Element, content: Iterable[Content]) -> Element:
    """Append texts and elements to an element, and return it."""
    for each in content:
        if isinstance(each, str):
            text = printable(each)
            if len(parent):
                parent[-1].tail = (parent[-1].tail or "") + text
            else:
                parent.text = (parent.text or "") + text
        elif each is not None:
            parent.append(each)
    return parent


def verbatim(tag: str, text: str) -> Element:
    """Make a style sheet or a script, which is written as it is: of our own, and without `</`."""
    made = Element(tag)
    made.text = text
    return made


def write_html(root: Element, mark: str) -> str:
    """Return a whole page, its mark in a comment at the start."""
    return f"<!DOCTYPE html>\n<!-- {mark} -->\n{tostring(root, encoding='unicode', method='html')}\n"

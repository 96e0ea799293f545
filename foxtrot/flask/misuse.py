"""Errors of the developer, told with the file and line where they were made.

Every misuse that would leave a route open, or mean something else than what
stands there, is an error when the module is imported.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, Final

from flask import Blueprint, Flask
from flask.views import View

_MACHINERY: Final = ("foxtrot.flask", "flask")


class Misuse(TypeError):
    """The guard is used in a way that cannot be meant; the message says where and what to do."""


def misuse(text: str) -> Misuse:
    """Make the error, with the place of the line that is being executed."""
    return Misuse(f"{here()}: {text}")


def here() -> str:
    """Give the file and line from which this package was called."""
    frame = _caller()
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def place_of(view: Callable[..., Any]) -> str:
    """Give the file and line of a view, or of its class."""
    inner = inspect.unwrap(view)
    code = getattr(inner, "__code__", None)
    view_class = getattr(view, "view_class", None)
    if view_class is not None:
        code = next(_codes(view_class), code)
    return f"{code.co_filename}:{code.co_firstlineno}" if code else repr(view)


def _codes(view_class: type) -> Iterator[CodeType]:
    for member in vars(view_class).values():
        if callable(member) and (code := getattr(inspect.unwrap(member), "__code__", None)):
            yield code


def is_no_function(view: Any) -> bool:
    """Say whether a decorator of views was put above something else, such as a class of views."""
    return not callable(view) or (isinstance(view, type) and issubclass(view, View))


def is_named(view: Callable[..., Any]) -> bool:
    """Say whether a decorated function has a name already where it is decorated.

    Below an `@` it has none yet; `required()(view)` may well be a second use of it.
    """
    return any(value is view for value in _values(_caller()))


def refuse_registered(view: Callable[..., Any], name: str) -> None:
    """Refuse a view that a route has already, without the guard.

    The apps and blueprints looked at are those that the decorated module or
    function can name; `Bearer.guard` finds the others.
    """
    for value in _values(_caller()):
        if any(known is view for known in _views_of(value)):
            raise misuse(above_the_route(name, getattr(view, "__name__", "the view")))


def _values(frame: FrameType) -> list[object]:
    return [*frame.f_locals.values(), *frame.f_globals.values()]


def above_the_route(name: str, view: str) -> str:
    """Say what is wrong with a decorator above a route."""
    return (
        f"{name} stands above the route, which therefore registered {view} without it:"
        " anybody may call it. Write it below the route, next to the function."
    )


def _views_of(value: object) -> Iterator[object]:
    """Give the views of an app; of a blueprint those that it will register.

    A blueprint keeps them in the closures of the functions that it defers.
    """
    if issubclass(type(value), Flask):
        yield from value.view_functions.values()  # type: ignore[attr-defined]
    if issubclass(type(value), Blueprint):
        for deferred in value.deferred_functions:  # type: ignore[attr-defined]
            for cell in getattr(deferred, "__closure__", None) or ():
                with suppress(ValueError):  # an empty cell
                    yield cell.cell_contents


def _caller() -> FrameType:
    frame = sys._getframe(1)
    while frame.f_back is not None and _is_machinery(frame.f_globals.get("__name__", "")):
        frame = frame.f_back
    return frame


def _is_machinery(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _MACHINERY)

"""What the answers to wrong tokens say about the service that gave them.

For `flask tokens attack`: judges each answer, and writes the report, worst first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from app.probe import Answer
from foxtrot.wrong_tokens import WrongToken


class Verdict(StrEnum):
    """How a service took a wrong token, worst first."""

    LET_THROUGH = "let through"
    FETCHED = "fetched from a URL in the token"
    CRASHED = "crashed"
    LEAKED = "showed its inside"
    UNCLEAR = "unclear"
    LENIENT = "lenient"
    REFUSED = "refused"


HOLES: Final = frozenset(
    {Verdict.LET_THROUGH, Verdict.FETCHED, Verdict.CRASHED, Verdict.LEAKED, Verdict.UNCLEAR}
)
"""Verdicts that the operator has to do something about."""

_PLAIN_REFUSALS: Final = frozenset({400, 401, 403, 413, 414, 431})
_ADVICE: Final = {
    Verdict.FETCHED: "Never fetch from an address that stands in a token: an attacker makes this"
    " service send requests wherever they like (RFC 8725 section 3.10).",
    Verdict.CRASHED: "Answer every bad token with 401. A failure shows that something else than"
    " the check came upon it, and anybody can cause it.",
    Verdict.LEAKED: "Do not show stack traces to strangers: turn debug mode off, and answer errors"
    " with a plain text.",
    Verdict.UNCLEAR: "Nothing can be said about these. Look at the answers: is there a limit on"
    " requests, another server in front, a redirect to a login page? RFC 6750 wants 401.",
    Verdict.LENIENT: "The standards permit to accept these; Foxtrot's own verifier refuses them.",
}
_TRACES: Final = re.compile(
    r"Traceback \(most recent call last\)|Werkzeug Debugger|^\s+at .+\(.+:\d+(:\d+)?\)"
    r"|^\s+at \S+:\d+:\d+|goroutine \d+ \[|\bat [\w.$]+\([\w]+\.java:\d+\)"
    r"|File \"[^\"]+\", line \d+",
    re.MULTILINE,
)


@dataclass(frozen=True)
class Finding:
    """One wrong token, and how the service took it."""

    token: WrongToken
    verdict: Verdict
    answer: Answer

    @property
    def advice(self) -> str:
        """What to do about it."""
        return _ADVICE.get(self.verdict, self.token.advice)

    @property
    def said(self) -> str:
        """What the service answered, in a few words."""
        if self.answer.status is None:
            return f"no answer: {self.answer.problem}"
        return f"answered {self.answer.status}"


def judge(token: WrongToken, answer: Answer, *, fetched: bool = False, strict: bool) -> Finding:
    """Judge the answer to a wrong token.

    :param fetched: whether the service came to the attacker's web server meanwhile.
    :param strict: whether it must refuse also what the standards permit to accept.
    """
    return Finding(token, _verdict(token, answer, fetched=fetched, strict=strict), answer)


def _verdict(token: WrongToken, answer: Answer, *, fetched: bool, strict: bool) -> Verdict:
    if answer.is_success:
        return Verdict.LENIENT if token.is_strict and not strict else Verdict.LET_THROUGH
    if fetched:
        return Verdict.FETCHED
    if answer.status is None or (answer.status >= 500 and answer.status != 503):
        return Verdict.CRASHED
    if _TRACES.search(answer.text):
        return Verdict.LEAKED
    return Verdict.REFUSED if answer.status in _PLAIN_REFUSALS else Verdict.UNCLEAR


@dataclass(frozen=True)
class Report:
    """What an attack has shown.

    :param doubt: why nothing, or not all, can be concluded; empty if everything can.
    :param untried: what was not tried, and why.
    """

    target: str
    audience: str
    findings: tuple[Finding, ...]
    doubt: str = ""
    untried: tuple[str, ...] = ()

    @property
    def holds(self) -> bool:
        """Say whether the service refused all that it must, and this could be seen."""
        return not self.doubt and not self.holes

    @property
    def holes(self) -> list[Finding]:
        """What has to be mended, worst first."""
        return [one for one in self._sorted() if one.verdict in HOLES]

    def as_dict(self) -> dict[str, Any]:
        """The report for programs."""
        return {
            "target": self.target,
            "audience": self.audience,
            "holds": self.holds,
            "doubt": self.doubt or None,
            "untried": list(self.untried),
            "tokens": [_as_dict(one) for one in self._sorted()],
        }

    def as_text(self) -> str:
        """The report for people."""
        lines = [f"{self.target}, as the service {self.audience!r}", ""]
        for verdict in Verdict:
            found = [one for one in self.findings if one.verdict is verdict]
            if found and verdict is not Verdict.REFUSED:
                lines += [*_section(verdict, found), ""]
        lines += [f"Not tried: {reason}" for reason in self.untried]
        return "\n".join([*lines, self._summary()])

    def _summary(self) -> str:
        if self.doubt:
            return f"Nothing can be concluded: {self.doubt}"
        refused = sum(one.verdict is Verdict.REFUSED for one in self.findings)
        tried = len(self.findings)
        said = f"{tried} wrong {'token' if tried == 1 else 'tokens'}, {refused} refused as "
        said += "it should be" if tried == 1 else "they should be"
        if not self.holes:
            return f"{said}. This route checks."
        return f"{said}; {len(self.holes)} to mend."

    def _sorted(self) -> list[Finding]:
        order = list(Verdict)
        return sorted(self.findings, key=lambda one: order.index(one.verdict))


def _section(verdict: Verdict, found: Iterable[Finding]) -> list[str]:
    """All tokens of one verdict, and for each kind of advice the tokens that it is about."""
    lines = [verdict.upper() if verdict in HOLES else verdict.capitalize()]
    by_advice: dict[str, list[Finding]] = {}
    for one in found:
        by_advice.setdefault(one.advice, []).append(one)
    for advice, those in by_advice.items():
        lines += [f"  {one.token.name}: {one.token.sentence} ({one.said})" for one in those]
        lines.append(f"    -> {advice}")
    return lines


def _as_dict(finding: Finding) -> dict[str, Any]:
    return {
        "name": finding.token.name,
        "sentence": finding.token.sentence,
        "verdict": finding.verdict.value,
        "status": finding.answer.status,
        "problem": finding.answer.problem or None,
        "advice": None if finding.verdict is Verdict.REFUSED else finding.advice,
    }

"""Signing keys: their table, their life, the ring of those in use, and what changes them.

`life` has the rules of time, `table` the rows and their encryption, `upkeep` what happens by
itself, `orders` what the operator asks for, `ring` what a worker signs and verifies with.
Each builds on those before it.
"""

from __future__ import annotations

from app.keys.life import MAX_AGE, REREAD, SHARED_SECRET, Life, Policy, State, Timetable
from app.keys.orders import Removal, remove, retire, rewrap, rotate
from app.keys.ring import KeyRing, Signer
from app.keys.table import SigningKey, any_stored, check_opens, count_of_former, every_key
from app.keys.upkeep import start, tend
from app.keys.words import about

__all__ = [
    "MAX_AGE",
    "REREAD",
    "SHARED_SECRET",
    "KeyRing",
    "Life",
    "Policy",
    "Removal",
    "Signer",
    "SigningKey",
    "State",
    "Timetable",
    "about",
    "any_stored",
    "check_opens",
    "count_of_former",
    "every_key",
    "remove",
    "retire",
    "rewrap",
    "rotate",
    "start",
    "tend",
]

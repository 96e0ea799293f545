"""A hundred verifiers, a thousand random rotations, in simulated time (see `world`)."""

from __future__ import annotations

import pytest
from flask import Flask

from tests.keys.world import World

ROTATIONS = 1000


@pytest.mark.parametrize("seed", [1])
def test_no_valid_token_is_refused_and_none_of_a_removed_key_accepted(
    app: Flask, seed: int
) -> None:
    """Not by any verifier, however old its copy of the keys is."""
    with app.app_context():
        world = World(app, seed)
        world.run(ROTATIONS)
    print(dict(world.seen))
    assert world.wrong == []
    assert world.seen["rotations"] == ROTATIONS
    assert world.seen["removals"] > ROTATIONS / 50
    assert world.seen["moves"] > ROTATIONS / 100

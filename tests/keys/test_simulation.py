"""A hundred verifiers, a thousand random rotations, in simulated time (see `world`)."""

from __future__ import annotations

from flask import Flask

from tests.keys.world import World

ROTATIONS = 1000


def test_no_valid_token_is_refused_and_none_of_a_removed_key_accepted(app: Flask) -> None:
    """Not by any verifier, however old its copy of the keys is; emergencies and moves included."""
    with app.app_context():
        world = World(app, seed=4, services=100)
        world.run(ROTATIONS)
    assert world.wrong == []
    assert world.seen["rotations"] >= ROTATIONS
    assert world.seen["judged"] > 400 * ROTATIONS
    assert world.seen["removals"] > ROTATIONS / 50
    assert world.seen["moves"] > ROTATIONS / 100

"""One model, its own mistakes, and several ways to go on from them at equal cost, compared fairly."""

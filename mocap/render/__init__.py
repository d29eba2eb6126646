"""Pictures and films without a screen: bodies on the ground, bodies over the footage."""

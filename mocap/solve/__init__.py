"""The least-squares problem over a whole take, and its solver."""

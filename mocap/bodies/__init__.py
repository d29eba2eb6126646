"""Bodies in SMPL format: data, loading, kinematics."""

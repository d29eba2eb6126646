"""Joints in 3D from what calibrated cameras saw of them: plain functions, vectorised over frames and joints."""

"""Readers and writers at the edge: footage, calibration, detections and results."""

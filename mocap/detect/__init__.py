"""People in 2D: detectors, how they are run over the views, and who is who across views."""

"""From one action to the features that the detectors count; nothing in them says whose account it is."""

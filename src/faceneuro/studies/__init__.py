"""One module per paper: which samples, which classes, and which numbers it printed."""

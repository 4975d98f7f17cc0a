"""Folds, reductions, the training loop and the devices it runs on."""

"""Logistic regression: the floor that a network has to rise above to be worth having."""

from sklearn.linear_model import LogisticRegression


def logistic_regression() -> LogisticRegression:
    """scikit-learn's own, with its usual penalty and classes weighted as in the training of the networks."""
    return LogisticRegression(class_weight="balanced", max_iter=2000)

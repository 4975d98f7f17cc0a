"""Effect sizes of many studies: pooling them, what moderates or biases them, how much hangs on a single one."""

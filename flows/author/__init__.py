"""What the author of a handler sees: the decorator, the call, results, strategies, prices."""

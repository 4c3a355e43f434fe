"""From listed sources to a published index: changes, passages, vectors, facts, storing."""

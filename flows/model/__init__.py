"""What a pipeline says: steps, policies, declared limits, and how two pipelines differ."""

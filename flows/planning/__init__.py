"""From the model to a plan: names resolved, limits settled, declarations checked, steps numbered."""

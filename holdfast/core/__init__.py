"""What an application means: the model, values, keys, order, plan, applying a batch, and the reference."""

"""The measure: the same input to the same output bytes in bare Python, with a dict and nothing durable."""

"""The coordinator: membership, layout, generations, cuts."""

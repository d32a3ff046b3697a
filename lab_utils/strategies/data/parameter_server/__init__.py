"""Workers push gradients to a server and pull parameters, synchronously or not."""

"""How a model is trained by several ranks: plain torch code, on the lab's ranks or under torchrun."""

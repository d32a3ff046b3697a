"""GradientFlow: gradients on their way through the backward and over the ranks."""

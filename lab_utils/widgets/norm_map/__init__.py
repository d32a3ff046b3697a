"""NormMap: gradient norms of every layer over the steps."""

"""Model parallelism: the network itself split over ranks, by layers, inside a layer, along the sequence, by experts."""

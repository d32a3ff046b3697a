"""Context parallelism: the sequence is cut over the ranks of cp, and only attention needs other ranks' tokens.

zigzag         which tokens a rank has, which blocks of the mask it computes, what it sends (no torch)
softmax_merge  one attention result out of two over different keys
ring           keys and values travel around the ring
all_to_all     heads instead of tokens, for the time of the attention
parallel       a model whose attention works in one of these ways, and its loss
"""

"""ShardMap: which rank holds which piece of every tensor."""

"""The processes behind the ranks: started, forked, interrupted, ended."""

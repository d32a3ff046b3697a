"""CollectiveSteps: which chunk moves where, round by round."""

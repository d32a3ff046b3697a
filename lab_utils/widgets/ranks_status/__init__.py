"""RanksStatus: what each rank is doing now."""

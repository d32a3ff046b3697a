"""Which op each rank is in now, in memory shared by all ranks and the notebook."""

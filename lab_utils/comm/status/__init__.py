"""Which op each rank is in now, in memory that all ranks and the notebook share."""

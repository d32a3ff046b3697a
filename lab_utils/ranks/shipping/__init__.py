"""What travels between the notebook and the ranks: functions, modules, results."""

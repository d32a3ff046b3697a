"""Serialization between the notebook and the ranks: functions, modules, results."""

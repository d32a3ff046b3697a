"""For notebooks, as for tests: whatever machine they run on, they see the same one."""

from machine import settle

settle()

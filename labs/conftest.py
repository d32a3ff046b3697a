"""For notebooks, as for tests: whatever machine they run on, they see the same one."""

from kernels import LocalKernelManager
from machine import settle
from nbval import kernel

settle()
kernel.KernelManager = LocalKernelManager

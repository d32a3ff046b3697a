"""Local SGD and DiLoCo: ranks train alone for some steps, then synchronise."""

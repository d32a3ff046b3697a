"""The recorded process group: a c10d backend that forwards each op to gloo (nccl on GPUs) and records it."""

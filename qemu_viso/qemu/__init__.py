"""QEMU processes: the storage daemon, machines, QMP."""

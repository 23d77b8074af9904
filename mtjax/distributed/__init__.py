"""Devices and hosts: meshes, sharding, placement of rows, and agreement between the processes of a run."""

"""The commands of `mwr-hpc boxnet`."""

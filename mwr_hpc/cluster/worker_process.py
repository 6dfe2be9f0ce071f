"""The program of one worker on this host: ``python -m mwr_hpc.cluster.worker_process PARENT_PID ARGUMENTS...``.

It is tied to the process that started it before anything else is imported, which may take long: when a run is killed,
no worker may be left that comes up later and writes.
"""

import sys

from mwr_hpc.cluster.tied_process import tie

if __name__ == "__main__":
    tie(int(sys.argv[1]))
    from distributed.cli.dask_worker import main

    main(sys.argv[2:])

"""Loaded by every Dask worker when it starts.

Ctrl-C reaches all processes of a terminal's foreground group; a worker leaves it to the coordinator, which lets the
running units finish. Numerical libraries were told to use one thread by the nanny's environment already.
"""

import signal
import threading

if threading.current_thread() is threading.main_thread():
    signal.signal(signal.SIGINT, signal.SIG_IGN)

"""Missing-wedge reconstruction, one module per stage."""

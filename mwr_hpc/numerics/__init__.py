"""Arrays in, arrays out: NumPy and SciPy only, no files, no TensorFlow, no Dask."""

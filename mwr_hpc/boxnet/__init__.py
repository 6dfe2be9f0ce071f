"""BoxNet: a 2-D network that labels particles and contamination in micrographs, taught with a user's own picks."""

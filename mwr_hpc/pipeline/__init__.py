"""Units of work, receipts, and the coordinator that loops over them."""

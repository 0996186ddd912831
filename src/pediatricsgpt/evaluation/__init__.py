"""The fourth room: predictions in, measured and comparable numbers out (METHOD section 3)."""

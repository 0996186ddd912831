"""Construction rules: from curated records to the four training sets, a file for each rule of the method."""

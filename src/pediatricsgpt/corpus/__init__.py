"""The corpus room: from sources to PedCorpus and its training sets (paper section 3)."""

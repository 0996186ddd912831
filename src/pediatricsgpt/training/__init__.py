"""The four training phases, one file each: `cpt`, `sft`, `dfpo`, `expert_sft`."""

"""PediatricsGPT: from pediatric sources and any Chinese base model to a measured, safe assistant."""

__version__ = "0.1.0"

//! Bytes <-> plain messages, one codec per standard with its spec page beside it.

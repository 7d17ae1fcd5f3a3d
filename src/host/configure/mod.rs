//! Configure.

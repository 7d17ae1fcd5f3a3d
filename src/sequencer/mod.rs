//! sequencer.

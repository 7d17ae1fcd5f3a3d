//! Third-party witnesses of the wire formats.
fn main() {}

//! rialto-bench: measurements that anyone can repeat.
fn main() {}

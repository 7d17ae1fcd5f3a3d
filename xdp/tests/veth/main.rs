//! AF_XDP over veth pairs in namespaces that live and die with this process. Needs root.
//!
//! Without root it prints SKIPPED and passes; tests/xdp.sh of the repository runs it as root and
//! fails on that word. Arguments select tests by a part of their name.

mod echo;
mod errors;
mod filter;
mod network;

/// Name and body of each test; a test fails by a panic.
const TESTS: &[(&str, fn())] = &[
    ("filter::each_branch", filter::each_branch),
    ("filter::truncated_at_each_byte", filter::truncated_at_each_byte),
    ("echo::native_copy", echo::native_copy),
    ("echo::generic", echo::generic),
    ("echo::multicast", echo::multicast),
    ("errors::ladder", errors::ladder),
    ("errors::each_variant", errors::each_variant),
];

fn main() {
    // SAFETY: no pointers.
    if unsafe { libc::geteuid() } != 0 {
        println!("SKIPPED: veth needs root (namespaces, XDP)");
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let wanted: Vec<&String> = arguments.iter().filter(|word| !word.starts_with('-')).collect();
    let (mut run, mut failed) = (0, Vec::new());
    for (name, test) in TESTS {
        if !wanted.is_empty() && !wanted.iter().any(|word| name.contains(word.as_str())) {
            continue;
        }
        run += 1;
        match std::panic::catch_unwind(test) {
            Ok(()) => println!("test {name} ... ok"),
            Err(_) => {
                println!("test {name} ... FAILED");
                failed.push(*name);
            }
        }
    }
    println!("{run} tests, {} failed {failed:?}", failed.len());
    if run == 0 || !failed.is_empty() {
        std::process::exit(1);
    }
}

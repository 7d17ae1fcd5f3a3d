//! AF_XDP over veth pairs in namespaces that live and die with this process. Needs root.
//!
//! Without root it prints SKIPPED and passes; tests/xdp.sh of the repository runs it as root and
//! fails on that word. Arguments select tests by a part of their name.

mod allocation;
mod beside;
mod echo;
mod errors;
mod filter;
mod network;
mod process;
mod queues;
mod traffic;

/// Name and body of each test; a test fails by a panic.
const TESTS: &[(&str, fn())] = &[
    ("filter::each_branch", filter::each_branch),
    ("filter::truncated_at_each_byte", filter::truncated_at_each_byte),
    ("echo::native_copy", echo::native_copy),
    ("echo::generic", echo::generic),
    ("echo::multicast", echo::multicast),
    ("traffic::both_ends", traffic::both_ends),
    ("traffic::in_place", traffic::in_place),
    ("traffic::one_long_batch", traffic::one_long_batch),
    ("traffic::two_threads", traffic::two_threads),
    ("traffic::flood", traffic::flood),
    ("traffic::overrun", traffic::overrun),
    ("traffic::vlan", traffic::vlan),
    ("traffic::lengths", traffic::lengths),
    ("traffic::frames_move", traffic::frames_move),
    ("traffic::without_need_wakeup", traffic::without_need_wakeup),
    ("traffic::busy_poll", traffic::busy_poll),
    ("traffic::no_allocation", traffic::no_allocation),
    ("queues::two", queues::two),
    ("queues::one_of_two", queues::one_of_two),
    ("queues::shared_umem", queues::shared_umem),
    ("beside::kernel_keeps_the_rest", beside::kernel_keeps_the_rest),
    ("beside::neighbours", beside::neighbours),
    ("beside::interface", beside::interface),
    ("beside::interface_goes", beside::interface_goes),
    ("beside::probe", beside::probe),
    ("beside::no_carrier", beside::no_carrier),
    ("beside::huge_pages", beside::huge_pages),
    ("errors::ladder", errors::ladder),
    ("errors::each_variant", errors::each_variant),
    ("process::death_detaches", process::death_detaches),
    ("process::capabilities", process::capabilities),
    ("filter::agrees_with_the_parser", filter::agrees_with_the_parser),
];

fn main() {
    // SAFETY: no pointers.
    if unsafe { libc::geteuid() } != 0 {
        println!("SKIPPED: veth needs root (namespaces, XDP)");
        return;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|word| word == process::HOLD) {
        return process::hold();
    }
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

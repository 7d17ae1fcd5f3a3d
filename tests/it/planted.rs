//! Planted bugs never reach a binary that trades.

/// Stands in every binary with the feature `planted-bugs` (`planted::MARKER`).
const MARKER: &[u8] = b"rialto-binary-with-planted-bugs";

#[test]
fn only_a_binary_of_the_feature_has_planted_bugs() {
    let binary = std::fs::read(env!("CARGO_BIN_EXE_rialto")).unwrap();
    assert!(binary.len() > 1 << 20, "that is the binary");
    let found = binary.windows(MARKER.len()).any(|bytes| bytes == MARKER);
    assert_eq!(found, cfg!(feature = "planted-bugs"));
}

#[test]
fn every_planted_bug_has_its_hook() {
    let hooks: String = crate::tidy::sources()
        .into_iter()
        .filter(|file| !file.ends_with("src/planted.rs"))
        .map(|file| std::fs::read_to_string(file).unwrap())
        .collect();
    for bug in rialto::planted::Bug::ALL {
        assert!(
            hooks.contains(&format!("planted::is(Bug::{bug:?})")),
            "{bug:?} is nowhere planted"
        );
    }
}

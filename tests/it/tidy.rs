//! Who may name whom: the module table of ARCHITECTURE.md as a test.
//!
//! Reads every source file, takes comments and literals out, resolves each path that starts with
//! `crate::`, `rialto::` or `super::` (also inside braces) to a top-level module, and holds it
//! against the table. A re-export across modules would be a way round the table: it is refused.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// Module -> modules that it may name. `exchange::data` stands for the exchange's `command`, `event`
/// and `genesis`: what is in the logs, not what makes it. Changing a row is a change of
/// architecture: say so in the commit and in ARCHITECTURE.md.
const TABLE: &[(&str, &[&str])] = &[
    ("types", &[]),
    ("layout", &["types"]),
    ("random", &[]),
    // Its hooks may stand anywhere: see `modules_name_only_what_the_table_allows`.
    ("planted", &[]),
    ("clock", &["types"]),
    ("agent", &["types", "clock", "counters"]),
    ("ring", &["types", "sync"]),
    ("lane", &["sync"]),
    ("sync", &[]),
    ("counters", &["types"]),
    ("board", &["types", "exchange::data"]),
    ("net", &["types", "random", "agent", "counters", "lane", "sync"]),
    ("wire", &["types"]),
    ("exchange", &["types", "layout"]),
    ("store", &["types", "random", "agent"]),
    // Egress names the clock: it measures when a report was handed to the socket.
    (
        "gateway",
        &[
            "types",
            "random",
            "clock",
            "agent",
            "ring",
            "counters",
            "board",
            "net",
            "wire",
            "store",
            "exchange::data",
            // Where both share a thread, ingress drives the inbound sequencer: its commands' fields
            // are written into the log's record and nowhere before.
            "sequencer",
        ],
    ),
    ("sequencer", &["types", "agent", "ring", "counters", "store", "exchange::data"]),
    // The engine drives the outbound sequencer: the sink of apply is where events get their place.
    ("engine", &["types", "agent", "counters", "board", "store", "guard", "exchange", "sequencer"]),
    ("publisher", &["types", "agent", "counters", "net", "wire", "store", "exchange::data"]),
    (
        "retransmitter",
        &["types", "agent", "counters", "net", "wire", "store", "exchange::data", "publisher"],
    ),
    ("guard", &["types", "store"]),
    ("timer", &["types", "agent", "ring", "counters", "board", "store", "exchange::data"]),
    ("broker", &["types", "random", "agent", "clock", "net", "wire"]),
    ("subscriber", &["types", "agent", "clock", "net", "wire"]),
    ("flow", &["types", "random"]),
    ("config", &["types", "exchange::data", "guard", "net"]),
    // The measured gaps need a pinned thread and a clock.
    ("host", &["types", "agent", "clock", "counters", "config", "net"]),
    ("replay", &["types", "guard", "store", "exchange"]),
    ("snapshot", &["types", "store", "exchange"]),
    ("shadow", &["types", "agent", "counters", "store", "guard", "exchange", "snapshot"]),
    ("topology", &["*"]),
    ("sim", &["*"]),
    ("cli", &["*"]),
    ("main", &["cli"]),
];

/// Words that hot modules may not contain: a log line or a formatted text allocates and waits.
const HOT: &[&str] = &["exchange", "wire", "ring", "gateway", "sequencer", "engine", "publisher"];
const HOT_WORDS: &[&str] = &["tracing::", "println!", "eprintln!", "print!", "dbg!"];

#[test]
fn modules_name_only_what_the_table_allows() {
    let table: BTreeMap<&str, BTreeSet<&str>> =
        TABLE.iter().map(|(m, allowed)| (*m, allowed.iter().copied().collect())).collect();
    let mut faults = Vec::new();
    let mut seen = BTreeSet::new();
    for file in sources() {
        let text = code_only(&std::fs::read_to_string(&file).unwrap());
        let module = module_path(&file);
        let Some(top) = module.first().cloned() else { continue }; // lib.rs declares only
        seen.insert(top.clone());
        let Some(allowed) = table.get(top.as_str()) else {
            faults.push(format!("{}: module {top} is not in the table", file.display()));
            continue;
        };
        for named in named_modules(&text, &module) {
            let target = &named[0];
            let anywhere = target == "planted" && top != "types";
            if anywhere
                || *target == top
                || !table.contains_key(target.as_str())
                || allowed.contains("*")
            {
                continue;
            }
            let data = target == "exchange"
                && named
                    .get(1)
                    .is_some_and(|m| ["command", "event", "genesis"].contains(&m.as_str()));
            if allowed.contains(target.as_str()) || (data && allowed.contains("exchange::data")) {
                continue;
            }
            faults.push(format!("{}: {top} names {}", file.display(), named.join("::")));
        }
        for line in text.lines() {
            let line = line.trim();
            if line.starts_with("pub use crate::") || line.starts_with("pub use super::super") {
                faults.push(format!("{}: re-export across modules: {line}", file.display()));
            }
        }
    }
    assert!(seen.contains("types") && seen.contains("exchange"), "sources were not found");
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn hot_modules_do_not_log_or_print() {
    let mut faults = Vec::new();
    for file in sources() {
        let module = module_path(&file);
        if !module.first().is_some_and(|top| HOT.contains(&top.as_str())) {
            continue;
        }
        let text = code_only(&std::fs::read_to_string(&file).unwrap());
        let live = text.split("#[cfg(test)]").next().unwrap();
        if module.iter().any(|m| m == "tests" || m == "naive") {
            continue;
        }
        for word in HOT_WORDS {
            if live.contains(word) {
                faults.push(format!("{} contains {word}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_exchange_is_pure() {
    let words = [
        "std::time",
        "std::fs",
        "std::net",
        "std::thread",
        "HashMap",
        "unsafe",
        " f32",
        " f64",
        "rand",
    ];
    let mut faults = Vec::new();
    for file in sources() {
        if module_path(&file).first().is_none_or(|top| top != "exchange") {
            continue;
        }
        let text = code_only(&std::fs::read_to_string(&file).unwrap());
        for word in words {
            let allowed = word == "unsafe"
                && text.matches("unsafe").count() == text.matches("forbid(unsafe_code)").count();
            if text.contains(word) && !allowed {
                faults.push(format!("{} contains {word}", file.display()));
            }
        }
    }
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

#[test]
fn the_reader_sees_paths_through_super_braces_and_comments() {
    let module = |parts: &[&str]| parts.iter().map(|s| s.to_string()).collect::<Vec<_>>();
    let text = code_only(
        "// use crate::topology::X;\nuse crate::{net::{self, Port}, wire::ouch};\nlet s = \"crate::cli\";\nsuper::super::store::open();",
    );
    let named: Vec<String> = named_modules(&text, &module(&["gateway", "ingress"]))
        .into_iter()
        .map(|n| n[0].clone())
        .collect();
    assert_eq!(named, ["net", "net", "wire", "store"]);
}

pub fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

/// `src/gateway/ingress.rs` -> [gateway, ingress]; `src/lib.rs` -> [].
fn module_path(file: &Path) -> Vec<String> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let relative = file.strip_prefix(src).unwrap().with_extension("");
    let mut parts: Vec<String> =
        relative.iter().map(|p| p.to_string_lossy().into_owned()).collect();
    if parts.last().is_some_and(|p| p == "mod" || p == "lib") {
        parts.pop();
    }
    parts
}

/// Blanks out comments, string and character literals.
fn code_only(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut i = 0;
    while i < bytes.len() {
        let rest = &bytes[i..];
        if rest.starts_with(b"//") {
            i += rest.iter().position(|&b| b == b'\n').unwrap_or(rest.len());
        } else if rest.starts_with(b"/*") {
            let end = text[i..].find("*/").map_or(rest.len(), |n| n + 2);
            i += end;
        } else if rest[0] == b'"' {
            let mut j = 1;
            while j < rest.len() && rest[j] != b'"' {
                j += if rest[j] == b'\\' { 2 } else { 1 };
            }
            out.extend_from_slice(b"\"\"");
            i += (j + 1).min(rest.len());
        } else if rest.len() > 3 && rest[0] == b'\'' && (rest[2] == b'\'' || rest[1] == b'\\') {
            let skip = if rest[1] == b'\\' { 2 } else { 1 };
            let end = rest[1 + skip..].iter().position(|&b| b == b'\'').map_or(1, |n| n + 2 + skip);
            out.extend_from_slice(b"' '");
            i += end;
        } else {
            out.push(rest[0]);
            i += 1;
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// Every crate-rooted path named in `text`, as its first segments.
fn named_modules(text: &str, module: &[String]) -> Vec<Vec<String>> {
    let mut named = Vec::new();
    for root in ["crate::", "rialto::"] {
        for (at, _) in text.match_indices(root) {
            let before = text[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '$' || c == ':') {
                continue;
            }
            expand(&text[at + root.len()..], &[], &mut named);
        }
    }
    for (at, _) in text.match_indices("super::") {
        if text[..at].ends_with("super::") {
            continue; // counted with its first `super`
        }
        let mut rest = &text[at..];
        let mut base = module.to_vec();
        // A file-level `super` leaves the file's module; a `mod tests` inside a file costs one
        // level more than is counted here, so that a path can only seem to stay inside.
        while let Some(next) = rest.strip_prefix("super::") {
            base.pop();
            rest = next;
        }
        expand(rest, &base, &mut named);
    }
    named.retain(|n| !n.is_empty());
    named
}

/// Reads `a::b`, `{a, b::{c}}` after a root; pushes the first two segments of each.
fn expand(rest: &str, base: &[String], named: &mut Vec<Vec<String>>) {
    let rest = rest.trim_start();
    if let Some(list) = rest.strip_prefix('{') {
        let (mut depth, mut start) = (0usize, 0usize);
        for (i, c) in list.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => {
                    expand(&list[start..i], base, named);
                    return;
                }
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    expand(&list[start..i], base, named);
                    start = i + 1;
                }
                _ => {}
            }
        }
        return;
    }
    let word: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    if word.is_empty() || word == "self" {
        named.push(base.to_vec());
        return;
    }
    let mut path = base.to_vec();
    path.push(word.clone());
    if let Some(after) = rest[word.len()..].strip_prefix("::")
        && path.len() < 2
    {
        expand(after, &path, named);
        return;
    }
    named.push(path);
}

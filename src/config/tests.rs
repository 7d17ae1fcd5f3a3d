//! Tests of the configuration reader.

use super::*;

const GOOD: &str = r#"
[venue]
name = "RIALTO"
test_keys = true
[gateway]
listen = "127.0.0.1:9001"
[feed]
a = "239.192.0.1:9101"
b = "239.192.0.2:9102"
repair = "127.0.0.1:9103"
[[symbol]]
name = "ALPH"
tick = "0.01"
[[firm]]
name = "ALFA"
[[account]]
name = "A001"
firm = "ALFA"
cash = "1000000.00"
positions = { ALPH = 500 }
[[session]]
user = "ALFA01"
firm = "ALFA"
account = "A001"
allow = ["127.0.0.1", "10.0.0.0/8"]
key = "0101010101010101010101010101010101010101010101010101010101010101"
"#;

fn faults(text: &str) -> Vec<String> {
    match Config::parse(Path::new("dir/x.toml"), text) {
        Ok(_) => Vec::new(),
        Err(e) => e.to_string().lines().map(str::to_string).collect(),
    }
}

#[test]
fn hours_of_a_day() {
    let hours = |keys: &str| {
        let text = GOOD.replace("test_keys = true", &format!("test_keys = true\n{keys}"));
        Config::parse(Path::new("x.toml"), &text).map(|c| c.day).map_err(|e| e.to_string())
    };
    let end = |keys| hours(keys).unwrap().end;
    assert_eq!(end(""), DayEnd::Never);
    assert_eq!(end("end = \"17:00\""), DayEnd::At(61_200));
    assert_eq!(end("open = \"09:30\"\nclose = \"16:00\""), DayEnd::At(61_200));
    assert_eq!(end("open = \"09:30\"\nclose = \"23:30\""), DayEnd::At(86_399));
    assert_eq!(end("trial_day_seconds = 5"), DayEnd::After(5));
    let day = hours("begin = \"07:00\"\nend = \"17:00\"\nlinger_seconds = 5").unwrap();
    assert_eq!((day.begin, day.linger_ns), (25_200, 5_000_000_000));
    for (keys, why) in [
        ("open = \"09:30\"\nclose = \"16:00\"\nend = \"15:59\"", "venue.end: must not be earlier"),
        (
            "open = \"09:30\"\nclose = \"16:00\"\nbegin = \"10:00\"",
            "venue.begin: must not be later",
        ),
        ("begin = \"07:00\"\nend = \"07:00\"", "venue.end: must not be earlier"),
        ("trial_day_seconds = 5\nend = \"17:00\"", "venue.trial_day_seconds = 5: goes with"),
        ("end = \"25:00\"", "must be a time of day"),
    ] {
        let told = hours(keys).unwrap_err();
        assert!(told.contains(why), "{keys}: {told}");
    }
}

#[test]
fn a_capture_is_there_when_it_has_a_directory() {
    let capture = |keys: &str| {
        Config::parse(Path::new("dir/x.toml"), &format!("{GOOD}{keys}"))
            .map(|c| c.capture)
            .map_err(|e| e.to_string())
    };
    assert_eq!(capture("").unwrap(), None);
    let plain = capture("[capture]\ndirectory = \"pcap\"").unwrap().unwrap();
    assert_eq!(plain, CaptureConfig::new(PathBuf::from("dir/pcap")));
    assert!(!plain.on);
    let keys = "directory = \"/pcap\"\nfile_mib = 1\nfiles_max = 2\nring_mib = 3";
    let full = capture(&format!("[capture]\n{keys}")).unwrap().unwrap();
    assert_eq!((full.file_bytes_max, full.files_max, full.ring_bytes), (1 << 20, 2, 3 << 20));
    for (keys, why) in [
        ("files_max = 3", "capture.directory: is missing"),
        ("directory = \"\"", "capture.directory = \"\": must name a directory"),
        ("directory = \"d\"\nfiles_max = 0", "capture.files_max = 0: must be"),
        ("directory = \"d\"\non = true", "capture.on: is not a key here"),
    ] {
        let error = capture(&format!("[capture]\n{keys}")).unwrap_err();
        assert!(error.contains(why), "{keys}: {error}");
    }
}

#[test]
fn the_host_of_a_venue() {
    let thread = "[[thread]]\nagents = [\"ingress\", \"sequencer\", \"engine\", \"publisher\", \
                  \"egress\", \"timer\", \"replayer\", \"retransmitter\"]\ncpu = 2\n[[thread]]\nagents = \
                  [\"archiver\"]\n";
    let host = |keys: &str| {
        let text = format!("{GOOD}\n{thread}\n[host]\n{keys}");
        Config::parse(Path::new("dir/x.toml"), &text).map(|c| c.host).map_err(|e| e.to_string())
    };
    let plain = host("").unwrap();
    assert_eq!(plain.state, Path::new("/run/rialto/configure.json"));
    assert_eq!((plain.housekeeping, plain.huge_pages), (None, 0));
    let all = host("state = \"s.json\"\nhousekeeping = \"0-1,8\"\nhuge_pages = 64").unwrap();
    assert_eq!(all.state, Path::new("dir/s.json"));
    assert_eq!((all.housekeeping, all.huge_pages), (Some(vec![0, 1, 8]), 64));
    for (keys, why) in [
        ("state = \"s/\"", "host.state = \"s/\": must name a file"),
        ("housekeeping = \"3-1\"", "host.housekeeping = \"3-1\": must be a list of CPUs"),
        ("housekeeping = \"0-2\"", "host.housekeeping: must not name CPU 2"),
        ("huge_pages = -1", "host.huge_pages = -1: must be a whole number"),
    ] {
        let error = host(keys).unwrap_err();
        assert!(error.contains(why), "{keys}: {error}");
    }
}

#[test]
fn dates_and_days_are_each_others_inverse() {
    for days in (0..60_000).step_by(7).chain(19_700..20_200) {
        assert_eq!(date_days(&date_text(days)), Some(days));
    }
    for bad in ["2025-02-29", "2025-13-01", "2025-1-01", "2025-01-32", "x", "2025-01-01-B"] {
        assert_eq!(date_days(bad), None, "{bad}");
    }
}

#[test]
fn a_good_text_becomes_a_genesis() {
    let config = Config::parse(Path::new("dir/x.toml"), GOOD).unwrap();
    assert_eq!(config.data, Path::new("dir/data"));
    assert_eq!(config.accounts[0].cash, Notional(10_000_000_000));
    let genesis = config.genesis(Nanos(1_700_000_000_000_000_000), b'A', 1);
    genesis.check().unwrap();
    assert_eq!(genesis.midnight, Nanos(1_699_920_000_000_000_000));
    assert_eq!(genesis.feed_session().text(), "RIALTOA318");
}

#[test]
fn every_fault_is_told_at_once_with_file_key_value_and_mend() {
    let text = GOOD
        .replace("127.0.0.1:9001", "nonsense")
        .replace("0.01", "0.00001")
        .replace("firm = \"ALFA\"\ncash", "firm = \"XXXX\"\ncash")
        .replace("0101", "01zz")
        .replace("[venue]", "[venue]\ncolour = \"red\"\nopen = \"25:00\"");
    let found = faults(&text);
    for (key, part) in [
        ("gateway.listen", "\"nonsense\""),
        ("symbol[0].tick", "at most 4 decimals"),
        ("account[0].firm", "one of the firms: ALFA"),
        ("session[0].key", "not shown"),
        ("venue.colour", "is not a key"),
        ("venue.open", "25:00"),
    ] {
        assert!(
            found
                .iter()
                .any(|f| f.starts_with("dir/x.toml: ") && f.contains(key) && f.contains(part)),
            "no fault {key} with {part} in {found:#?}"
        );
    }
    assert!(!found.iter().any(|f| f.contains("01zz")), "a secret was repeated: {found:#?}");
}

#[test]
fn threads_must_place_every_agent_once() {
    let found = faults(&format!("{GOOD}\n[[thread]]\nagents = [\"ingress\", \"ingress\"]\n"));
    assert!(found.iter().any(|f| f.contains("stands on another thread")), "{found:#?}");
    assert!(found.iter().any(|f| f.contains("\"engine\" stands on no thread")), "{found:#?}");
}

#[test]
fn money_has_four_decimals_and_no_floating_point() {
    for (text, value) in [
        ("0.01", Some(100)),
        ("12", Some(120_000)),
        ("1_000.5", Some(10_005_000)),
        ("0.00001", None),
        ("1.", None),
        ("-1", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(parse_money(text), value, "{text}");
    }
}

#[test]
fn dates() {
    assert_eq!(civil_date(0), (1970, 1, 1, 1));
    assert_eq!(civil_date(19_782), (2024, 2, 29, 60));
    assert_eq!(civil_date(20_088), (2024, 12, 31, 366));
    assert_eq!(date_text(20_778), "2026-11-21");
}

#[test]
fn a_layout_beside_thread_tables_is_told_first_and_alone() {
    let layout = "[host]\nlayout = \"2\"\n";
    assert!(faults(&format!("{GOOD}{layout}")).is_empty());
    // The agents that the one table lacks are the layout's.
    let told = faults(&format!("{GOOD}{layout}[[thread]]\nagents = [\"ingress\"]\n"));
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].contains("host.layout = \"2\": does not go with [[thread]]"), "{told:?}");
    let told = faults(&format!("{GOOD}{layout}[[thread]]\nagents = [\"nobody\"]\n"));
    assert!(told.len() == 2 && told[0].contains("host.layout"), "{told:?}");
    let shared = layout.replace('2', "shared");
    let told = faults(&format!("{GOOD}{shared}[[thread]]\nagents = [\"ingress\"]\n"));
    assert!(told.len() == 8 && told[0].contains("stands on no thread"), "{told:?}");
}

#[test]
fn the_shipped_example_asks_for_a_disk_that_everybody_has() {
    let config = Config::parse(Path::new("x.toml"), include_str!("../../rialto.toml")).unwrap();
    let sizing = config.sizing();
    assert!(sizing.command_log + sizing.event_log < 4 << 30, "{sizing:?}");
}

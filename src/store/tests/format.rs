//! `store.md`, table by table: whoever changes a number changes both.

use super::*;

/// `store.md`, table by table: whoever changes a number changes both.
#[test]
fn format_is_as_the_page_says() {
    let dir = scratch();
    let spec = DaySpec { hot_segments_max: 5, ..small(dir.path(), 8192) };
    let mut store = Fixture::open(&spec).unwrap();
    let log_id = store.day.log(LOG).options().log_id;
    store.writer.append(0x1234, 0x5678, Nanos(0x0102_0304), 9, 5, |p| p.fill(0xAB)).unwrap();
    let long = 8192 - 4096 - HEADER_BYTES;
    store.writer.append(1, 0, Nanos(0), 9, long, |p| p.fill(1)).unwrap(); // pads segment 0
    store.commit();
    store.step();
    let word = |bytes: &[u8], at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
    let half = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap());

    let hot = std::fs::read(hot_file(&spec)).unwrap();
    let archived = std::fs::read(store.day.dir().join("command-0000000000.seg")).unwrap();
    assert_eq!((archived.len(), &archived[..8192]), (16_384, &hot[..]));
    // One group was written, and nothing is synced before the first.
    let mark = &archived[8192..8256];
    assert_eq!(&mark[0..8], b"RIALTOGM");
    assert_eq!((half(mark, 8), half(mark, 12)), (1, crc32c::crc32c(&mark[16..])));
    assert_eq!((word(mark, 16), word(mark, 24)), (log_id, 0));
    assert_eq!((word(mark, 32), word(mark, 40)), (4096, 0));
    assert!(mark[48..].iter().chain(&archived[8256..]).all(|&b| b == 0));
    assert_eq!(&hot[0..8], b"RIALTOSG");
    assert_eq!((half(&hot, 8), half(&hot, 12)), (1, crc32c::crc32c(&hot[16..48])));
    assert_eq!((word(&hot, 16), word(&hot, 24), word(&hot, 32)), (log_id, 0, 8192));
    assert_eq!(&hot[40..48], b"command\0");
    assert!(hot[48..4096].iter().all(|&b| b == 0));

    let record = &hot[4096..4160];
    assert_eq!((half(record, 0), half(record, 4)), (37, crc32c::crc32c(&record[8..37])));
    assert_eq!((word(record, 8), word(record, 16), half(record, 24)), (1, 0x0102_0304, 9));
    assert_eq!(record[28..32], [0x34, 0x12, 0x78, 0x56]);
    assert_eq!(record[32..37], [0xAB; 5]);
    assert_eq!(record[37..], [0; 27]);
    let pad = &hot[4160..];
    assert_eq!((half(pad, 0), half(pad, 4)), (4032, crc32c::crc32c(&pad[8..32])));
    assert_eq!((word(pad, 8), word(pad, 16), half(pad, 24)), (2, 0, 0));
    assert_eq!(pad[28..32], [0xFF, 0xFF, 0, 0]);
    assert!(pad[32..].iter().all(|&b| b == 0));

    let page = std::fs::read(store.day.hot_dir().join("control")).unwrap();
    assert_eq!(&page[0..8], b"RIALTOCP");
    let pid = u64::from(std::process::id());
    assert_eq!((word(&page, 8), word(&page, 16), word(&page, 24)), (1, pid, 1));
    let end = 2 * 8192 + 4096;
    for at in [0, 128, 256] {
        assert_eq!((word(&page, 128 + at), word(&page, 128 + at + 8)), (2, end), "mark at {at}");
    }
    let constants = (word(&page, 512), word(&page, 520), word(&page, 528));
    assert_eq!(constants, (log_id, 8192, 5 * 8192));
    assert_eq!(word(&page, 536), end);
    store.day.control().counter(63).store(77, Ordering::Relaxed);
    let page = std::fs::read(store.day.hot_dir().join("control")).unwrap();
    assert_eq!(word(&page, 1152 + 63 * 8), 77);
    let owner = store.day.dir().as_os_str().as_encoded_bytes();
    assert_eq!(word(&page, 64), owner.len() as u64);
    assert_eq!(&page[1664..1664 + owner.len()], owner);

    let file = std::fs::read(store.day.dir().join("command.confirmed")).unwrap();
    let slots = [&file[..64], &file[4096..4160]];
    let newest = slots.iter().max_by_key(|s| word(s, 16)).unwrap();
    assert_eq!(&newest[0..8], b"RIALTOCF");
    assert_eq!((half(newest, 8), half(newest, 12)), (1, crc32c::crc32c(&newest[16..])));
    assert_eq!((word(newest, 24), word(newest, 32)), (log_id, 8192));
    assert_eq!((word(newest, 40), word(newest, 48), word(newest, 56)), (end, 2, 0));
    let note = std::fs::read_to_string(store.day.dir().join("hot")).unwrap();
    assert_eq!(Path::new(note.trim_end()), store.day.hot_dir());
}

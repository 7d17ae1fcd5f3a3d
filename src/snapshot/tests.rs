//! The file by itself: the same bytes back, and nothing else taken for a snapshot.

use super::*;
use crate::store::LogIndex;

fn snapshot() -> Snapshot {
    let reach = |seq: u64| Reach {
        log_id: seq * 7,
        seq: Seq(seq),
        start: 100_000 + seq,
        end: 200_000 + seq,
        time: Nanos(seq * 3),
        checksum: 0xABCD,
    };
    let session = |report: u64, login| SessionTrail {
        applied: report / 2,
        report,
        position: if report == 0 { 0 } else { 90_000 + report },
        login,
        ended: 0,
        noted: (1..=report / REPORT_STRIDE).map(|i| 5_000 + i * 320).collect(),
    };
    Snapshot {
        core_version: 1,
        reach: [reach(500), reach(900)],
        state_hash: 0x1234_5678_9ABC_DEF0,
        trail: Trail {
            sessions: vec![session(700, 4_200), session(0, 0), session(256, 4_300)],
            feed: 130,
            noted: vec![4_096, 20_000, 40_000],
            day_ended: false,
        },
        exchange: (0..=255).collect(),
    }
}

#[test]
fn comes_back_as_it_was_written() {
    let snapshot = snapshot();
    let bytes = snapshot.encode();
    assert_eq!(Snapshot::decode(&bytes).unwrap(), snapshot);
    let trail = 16 + 8 + 3 * 8 + 3 * 48 + 3 * 8;
    assert_eq!(bytes.len(), file::HEADER_BYTES + trail + 256);
    assert_eq!(&bytes[..8], b"RIALTOSN");
    assert_eq!(bytes[64..72], 500u64.to_le_bytes(), "commands covered, as the page says");
    assert_eq!(bytes[112..120], 900u64.to_le_bytes(), "events covered");
}

#[test]
fn every_flipped_byte_and_every_cut_is_refused() {
    let bytes = snapshot().encode();
    for at in 0..bytes.len() {
        for mask in [0x01, 0x80, 0xFF] {
            let mut damaged = bytes.clone();
            damaged[at] ^= mask;
            assert!(Snapshot::decode(&damaged).is_err(), "byte {at} ^ {mask:02x}");
        }
        assert!(Snapshot::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
    let longer = [&bytes[..], &[0]].concat();
    assert!(Snapshot::decode(&longer).is_err());
}

/// With right checksums: numbers that do not fit positions, and counts beyond the bytes.
#[test]
fn what_contradicts_itself_is_refused() {
    let rows: [fn(&mut Snapshot); 10] = [
        |s| s.reach[0].seq = Seq(0),
        |s| s.reach[1].end = s.reach[1].start,
        |s| s.trail.feed = 200,
        |s| s.trail.noted.swap(0, 1),
        |s| s.trail.sessions[0].noted.truncate(1),
        |s| s.trail.sessions[0].position = 0,
        |s| s.trail.sessions[0].position = 1 << 60,
        |s| s.trail.sessions[1].report = 1,
        |s| s.trail.sessions[2].login = 1 << 60,
        |s| s.trail.sessions[2].ended = 4_250,
    ];
    for (row, change) in rows.iter().enumerate() {
        let mut other = snapshot();
        change(&mut other);
        assert!(Snapshot::decode(&other.encode()).is_err(), "row {row}");
    }
}

#[test]
fn the_newest_are_kept_and_other_names_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let storage = crate::store::files();
    for seq in [5, 40, 300, 2_000] {
        let mut snapshot = snapshot();
        snapshot.reach[LogIndex::Command as usize].seq = Seq(seq);
        let (path, bytes) = write(&*storage, dir.path(), &snapshot).unwrap();
        assert_eq!(read(&*storage, &path).unwrap(), snapshot);
        assert_eq!(std::fs::metadata(&path).unwrap().len(), bytes as u64);
    }
    std::fs::write(dir.path().join("snapshot-7"), b"").unwrap();
    std::fs::write(dir.path().join(name_of(Seq(9_000)) + ".refused"), b"").unwrap();
    prune(&*storage, dir.path()).unwrap();
    let left = list(&*storage, dir.path()).unwrap();
    assert_eq!(left, [Seq(2_000), Seq(300), Seq(40)]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), KEPT + 2);
}

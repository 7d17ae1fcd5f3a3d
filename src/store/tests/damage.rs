//! Damage, bit by bit and byte by byte: a day of both logs is torn and flipped wherever it hurts, above
//! and below what was promised, in the hot tier and in the archive. Each case has one right answer:
//! what was promised and is damaged refuses the start and is named; anything else is cut where it
//! begins; and nothing else changes.
//!
//! 18 records a log: 1 to 5 are confirmed, 6 to 10 a group that the next group's mark vouches for, 11
//! to 15 the last group, 16 to 18 in memory only.

use super::*;
use std::ffi::OsString;
use std::path::PathBuf;
use std::sync::Arc;

const RECORDS: u64 = 18;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Copy {
    /// The process died: the hot tier is there, and its marks count.
    Hot,
    /// The power was gone: there is only the archive.
    Archive,
}

struct Case {
    storage: Arc<MemoryStorage>,
    spec: DaySpec,
    log: LogIndex,
    copy: Copy,
    /// Start of each record, and of the one that would follow.
    positions: Vec<u64>,
    /// Last record that must be there.
    promised: u64,
    /// Last record that is there.
    last: u64,
    /// Every file as it was, by directory.
    files: [(PathBuf, Files); 2],
}

/// Name and bytes of each file of a directory.
type Files = Vec<(OsString, Vec<u8>)>;

impl Case {
    fn new(log: LogIndex, copy: Copy, policy: CommitPolicy) -> Case {
        let (storage, spec) = simulated(7, 8192);
        let day = Day::open(&spec, Nanos(1)).unwrap();
        let mut writers = LogIndex::ALL.map(|log| {
            let found = day.log(log).recover().unwrap();
            day.log(log).writer(&found).unwrap()
        });
        let mut archiver = day.archiver(AT_ONCE).unwrap();
        let mut positions = Vec::new();
        for seq in 1..=RECORDS {
            for writer in &mut writers {
                let at = append(writer, seq).unwrap();
                if writer.position() > at.position && positions.len() < seq as usize {
                    positions.push(at.position); // the same in both logs
                }
            }
            match seq {
                5 => archiver.drain().unwrap(),
                10 | 15 => LogIndex::ALL.into_iter().for_each(|log| archiver.group_now(log)),
                // The last one was written, and the process died before it was committed.
                17 => LogIndex::ALL.into_iter().for_each(|log| {
                    policy.advance(day.control(), log);
                }),
                _ => {}
            }
        }
        positions.push(writers[0].position());
        assert_eq!(day.control().confirmed(log), positions[5]);
        let committed = day.control().committed(log).seq.0;
        match copy {
            Copy::Hot => storage.crash(),
            Copy::Archive => storage.lose_power(),
        }
        drop((archiver, writers, day));
        let (promised, last) = match copy {
            Copy::Hot => (committed, RECORDS),
            Copy::Archive => (10, 15),
        };
        let dirs = [spec.data.join(&spec.date), spec.hot.join("test-2025-01-02")];
        let files = dirs.map(|dir| (dir.clone(), storage.look_at_all(&dir)));
        Case { storage, spec, log, copy, positions, promised, last, files }
    }

    /// The file of the copy that is damaged.
    fn path(&self) -> PathBuf {
        let dir = if self.copy == Copy::Hot { &self.files[1].0 } else { &self.files[0].0 };
        dir.join(file_name(self.log, 0))
    }

    /// Bytes of the file as it was.
    fn whole(&self, path: &Path) -> &[u8] {
        let (_, files) = self.files.iter().find(|(dir, _)| path.starts_with(dir)).unwrap();
        let found = files.iter().find(|(name, _)| Some(&**name) == path.file_name());
        &found.expect("a file of the case").1
    }

    /// All files as they were.
    fn restore(&self) {
        self.storage.crash();
        for (dir, files) in &self.files {
            for (name, _) in self.storage.look_at_all(dir) {
                if !files.iter().any(|(n, _)| *n == name) {
                    self.storage.unlink(&dir.join(name)).unwrap();
                }
            }
            for (name, bytes) in files {
                if self.storage.look(&dir.join(name)).as_ref() != Some(bytes) {
                    self.storage.put(&dir.join(name), bytes).unwrap();
                }
            }
        }
    }

    /// What a start makes of it: both logs recovered, nothing written yet.
    fn start(&self) -> Result<[Recovered; 2], StoreError> {
        let day = Day::open(&self.spec, Nanos(2))?;
        let commands = day.log(LogIndex::Command).recover()?;
        Ok([commands, day.log(LogIndex::Event).recover()?])
    }

    /// Damages the copy, starts, and holds the answer against the one that is right when record
    /// `victim` is the first that is not whole.
    fn check(&self, victim: u64, what: &str, damage: impl FnOnce(&mut Vec<u8>)) {
        let path = self.path();
        let mut bytes = self.whole(&path).to_vec();
        damage(&mut bytes);
        self.storage.put(&path, &bytes).unwrap();
        let at = self.positions[victim as usize - 1];
        let what = format!("{:?} {:?} record {victim}: {what}", self.log, self.copy);
        let found = self.start();
        if victim <= self.promised {
            let refusal = found.expect_err(&what);
            assert!(
                matches!(&refusal, StoreError::Damaged { path: p, offset, position, .. }
                    if *p == path && *offset == at && *position == at),
                "{what}: {refusal}"
            );
        } else {
            let found = found.unwrap_or_else(|error| panic!("{what}: {error}"));
            let (cut, other) = (&found[self.log as usize], &found[1 - self.log as usize]);
            assert_eq!((cut.next_seq, cut.position), (Seq(victim), at), "{what}");
            // Nothing but zeros where the record began: that is an end, and nothing was cut off.
            if bytes[at as usize..8192].iter().any(|&b| b != 0) {
                assert_eq!(cut.cut.as_ref().map(|c| (c.at, &c.path)), Some((at, &path)), "{what}");
            }
            assert_eq!((other.next_seq, &other.cut), (Seq(self.last + 1), &None), "{what}");
            bytes[at as usize..8192].fill(0);
        }
        self.check_files(&path, &bytes, victim, &what);
        self.restore();
    }

    /// `path` holds `bytes`, and every other file what it held before.
    fn check_files(&self, path: &Path, bytes: &[u8], victim: u64, what: &str) {
        for (dir, files) in &self.files {
            for (name, whole) in files {
                let here = dir.join(name);
                let now = self.storage.look(&here);
                let text = name.to_str().unwrap();
                if here == path {
                    assert!(now.as_deref() == Some(bytes), "{what}: the file");
                } else if text == "control" {
                    // Every start writes who it is.
                } else if text.ends_with("-0000000001.seg") && now.is_none() {
                    // Made ahead and never written: a start makes it anew.
                } else if text.ends_with(".confirmed") && self.copy == Copy::Archive {
                    // A log that goes on from its archive confirms it first.
                } else if here.file_name() == path.file_name() && victim > self.promised {
                    let at = self.positions[victim as usize - 1] as usize;
                    let now = now.unwrap();
                    assert!(now[..at] == whole[..at], "{what}: the archived twin");
                    assert!(now[at..8192].iter().all(|&b| b == 0), "{what}: the twin is cut too");
                } else {
                    assert!(now.as_ref() == Some(whole), "{what}: {}", here.display());
                }
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for log in LogIndex::ALL {
        for copy in [Copy::Hot, Copy::Archive] {
            cases.push(Case::new(log, copy, CommitPolicy::Disk));
            if copy == Copy::Hot {
                // In the archive both levels are the same.
                cases.push(Case::new(log, copy, CommitPolicy::Memory));
            }
        }
    }
    cases
}

#[test]
fn what_is_promised_differs_by_level_and_copy() {
    let promised: Vec<u64> = cases().iter().map(|c| c.promised).collect();
    assert_eq!(promised, [15, 17, 10, 15, 17, 10]);
    for case in cases() {
        let found = case.start().unwrap().map(|r| (r.next_seq.0 - 1, r.cut));
        assert_eq!(found, [(case.last, None), (case.last, None)]);
    }
}

#[test]
fn cut_at_every_byte_of_the_last_records_and_of_those_around_what_is_promised() {
    for case in cases() {
        let around = case.promised..=case.promised + 1;
        let last = case.last - 2..=case.last;
        for victim in around.chain(last.filter(|v| *v > case.promised + 1)) {
            let start = case.positions[victim as usize - 1] as usize;
            let used = HEADER_BYTES + payload(victim).len();
            let whole = case.whole(&case.path()).to_vec();
            for at in start..start + used {
                // Zeros that were zeros before make no difference.
                if whole[at..start + used].iter().any(|&b| b != 0) {
                    case.check(victim, &format!("nothing from byte {at} on"), |bytes| {
                        bytes[at..8192].fill(0);
                    });
                }
            }
        }
    }
}

#[test]
fn every_bit_of_the_last_record_promised_and_of_the_first_that_is_not() {
    for case in cases() {
        for victim in [case.promised, case.promised + 1] {
            let start = case.positions[victim as usize - 1] as usize;
            for bit in 0..(HEADER_BYTES + payload(victim).len()) * 8 {
                case.check(victim, &format!("bit {bit}"), |bytes| {
                    bytes[start + bit / 8] ^= 1 << (bit % 8);
                });
            }
        }
    }
}

#[test]
fn a_sector_that_was_never_written_or_holds_noise() {
    for case in cases() {
        for victim in 1..=case.last {
            let [start, end] = [victim - 1, victim].map(|at| case.positions[at as usize] as usize);
            case.check(victim, "zeros inside", |bytes| bytes[start..end].fill(0));
            case.check(victim, "noise inside", |bytes| {
                let mut random = Random(victim);
                bytes[start..end].fill_with(|| random.below(256) as u8);
            });
        }
    }
}

#[test]
fn every_bit_of_the_segment_header() {
    for case in cases() {
        let path = case.path();
        for bit in 0..48 * 8 {
            assert!(case.storage.damage(&path, bit / 8, 1 << (bit % 8)));
            let bytes = case.storage.look(&path).unwrap();
            let refusal = case.start().expect_err("a segment of who knows what");
            let named = match &refusal {
                StoreError::NotALog { path, .. } | StoreError::ForeignLog { path, .. } => path,
                other => panic!("{other}"),
            };
            assert_eq!(named, &path, "bit {bit}");
            case.check_files(&path, &bytes, 1, "header");
            case.restore();
        }
    }
}

#[test]
fn an_archived_header_damaged_beside_a_good_hot_tier_stops_the_archive_and_is_told() {
    let case = Case::new(LOG, Copy::Hot, CommitPolicy::Disk);
    let path = case.files[0].0.join(file_name(LOG, 0));
    assert!(case.storage.damage(&path, 20, 1));
    let mut store = Fixture::open(&case.spec).unwrap();
    assert_eq!(store.recovered.next_seq, Seq(RECORDS + 1));
    store.step();
    assert_eq!(store.day.control().archive_waits(), Some(libc::EIO));
    assert!(store.day.control().archived(LOG).seq.0 <= 5, "nothing is called durable");
}

#[test]
fn every_bit_of_the_confirmed_files_slots() {
    for case in cases() {
        let name = format!("{}.confirmed", case.log.name());
        let path = case.files[0].0.join(name);
        let answers =
            |offset: u64| (0..64 * 8).map(move |bit| (offset + bit / 8, 1u8 << (bit % 8)));
        for (offset, mask) in answers(0).chain(answers(4096)) {
            assert!(case.storage.damage(&path, offset, mask));
            let found = case.start().unwrap_or_else(|e| panic!("{:?} {offset}: {e}", case.copy));
            assert_eq!(found[case.log as usize].next_seq, Seq(case.last + 1));
            case.restore();
        }
        // The other slot says less, or nothing; the group marks still vouch.
        for offset in [0, 4096] {
            let both = |bytes: &mut [u8]| bytes[case.positions[7] as usize + 20] ^= 1;
            let mut bytes = case.whole(&case.path()).to_vec();
            both(&mut bytes);
            case.storage.put(&case.path(), &bytes).unwrap();
            assert!(case.storage.damage(&path, offset + 20, 1));
            let refusal = case.start().expect_err("record 8 was promised");
            assert!(matches!(refusal, StoreError::Damaged { offset, .. }
                if offset == case.positions[7]));
            case.restore();
        }
        assert!(case.storage.damage(&path, 20, 1) && case.storage.damage(&path, 4096 + 20, 1));
        let refusal = case.start().expect_err("nobody knows what was confirmed");
        assert!(matches!(&refusal, StoreError::NotALog { path: p, .. } if *p == path), "{refusal}");
        case.restore();
    }
}

#[test]
fn a_group_mark_that_is_damaged_leaves_the_one_before() {
    let case = Case::new(LOG, Copy::Archive, CommitPolicy::Disk);
    // Three groups: the newest mark, of the third, says 10; the one before says 5.
    for mark in [8192, 8192 + 4096] {
        let position = case.whole(&case.path())[mark + 32..mark + 40].try_into().unwrap();
        let newest = u64::from_le_bytes(position) == case.positions[10];
        let mut bytes = case.whole(&case.path()).to_vec();
        bytes[mark + 20] ^= 1;
        bytes[case.positions[7] as usize + 20] ^= 1;
        case.storage.put(&case.path(), &bytes).unwrap();
        match case.start() {
            Ok(found) => {
                assert!(newest && found[0].next_seq == Seq(8), "a torn tail, so far known")
            }
            Err(refusal) => assert!(!newest, "{refusal}"),
        }
        case.restore();
    }
}

//! A day's directory: where the logs of one trading day lie, and who may write them.
//!
//! ```text
//! <data>/lock                          flock of the writing process, its pid
//! <data>/<YYYY-MM-DD>/                 the day's directory, all that `replay` needs
//!     command.confirmed event.confirmed    identity of the logs, how far the archive is whole
//!     command-0000000000.seg ...           archived segments
//!     hot                                  text: the hot directory of this day
//!     sealed                               the last run ended with everything archived
//! <hot>/<name>-<YYYY-MM-DD>/           control page, hot segments
//! ```

use super::confirmed::{self, ConfirmedFile};
use super::control::FILE_NAME as CONTROL_FILE;
use super::pool::{Hold, Pool};
use super::segment::{SEGMENT_HEADER_BYTES, list, read_header, sync_dir};
use super::{
    Archiver, ArchiverOptions, Control, FileStorage, FileSystem, Log, LogIndex, LogOptions,
    OpenMode, Recovered, Storage, StorageFile, StoreError, file_name, files,
};
use crate::types::{Nanos, Seq};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

/// What the hot tier lies on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Medium {
    /// Memory in huge pages (hugetlbfs): fastest.
    HugePages,
    /// Memory (tmpfs, /dev/shm).
    Memory,
    /// Anything else: works, with stalls of milliseconds when the kernel writes pages back. Deserves
    /// a warning.
    Degraded,
}

/// Names and sizes of a day to write.
#[derive(Clone, Debug)]
pub struct DaySpec {
    /// Where all of it lies.
    pub storage: Arc<dyn Storage>,
    /// Data directory: one subdirectory per day. Made when absent.
    pub data: PathBuf,
    /// Root of the hot tier, for example /dev/shm/rialto. Made when absent. A day begun stays in the
    /// hot directory it began in as long as that exists.
    pub hot: PathBuf,
    /// Name of this exchange: 1 to 32 letters, digits, `-`, `_`.
    pub name: String,
    /// Day, YYYY-MM-DD; a day begun anew has the letter of its incarnation behind it: YYYY-MM-DD-B.
    pub date: String,
    /// False = the hot tier is all there is (benchmarks).
    pub archive: bool,
    /// Size of a segment of either log, bytes; a multiple of 4096 (of the huge page on hugetlbfs),
    /// 8 KiB ..= 4 GiB. A day begun keeps its size.
    pub segment_bytes: u64,
    /// Hot segments of either log that may exist at once, those prepared ahead included; 3 ..= 4096.
    pub hot_segments_max: usize,
}

impl DaySpec {
    /// A small day below `dir`, hot tier and all: for tests and trials.
    pub fn small(dir: &Path) -> DaySpec {
        DaySpec {
            storage: files(),
            data: dir.join("data"),
            hot: dir.join("hot"),
            name: "test".into(),
            date: "2025-01-02".into(),
            archive: true,
            segment_bytes: 1 << 20,
            hot_segments_max: 4,
        }
    }

    fn check(&self) -> Result<(), StoreError> {
        let bad =
            |option, value: String, allowed| Err(StoreError::Option { option, value, allowed });
        let name_ok = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'_';
        if !(1..=32).contains(&self.name.len()) || !self.name.bytes().all(name_ok) {
            return bad("name", self.name.clone(), "1 to 32 letters, digits, - and _");
        }
        if !is_date(&self.date) {
            return bad("date", self.date.clone(), "a day as YYYY-MM-DD, or YYYY-MM-DD-B");
        }
        let bytes = self.segment_bytes;
        if !bytes.is_multiple_of(4096) || !(8192..=4 << 30).contains(&bytes) {
            return bad("segment_bytes", bytes.to_string(), "a multiple of 4096, 8 KiB to 4 GiB");
        }
        if !(3..=4096).contains(&self.hot_segments_max) {
            return bad("hot_segments_max", self.hot_segments_max.to_string(), "3 to 4096");
        }
        Ok(())
    }
}

pub(super) fn is_date(text: &str) -> bool {
    let (day, again) = text.split_at_checked(10).unwrap_or((text, ""));
    let bytes = day.as_bytes();
    let again_ok = matches!(again.as_bytes(), [] | [b'-', b'B'..=b'Z']);
    again_ok
        && bytes.len() == 10
        && bytes.iter().enumerate().all(|(at, b)| match at {
            4 | 7 => *b == b'-',
            _ => b.is_ascii_digit(),
        })
        && ("01"..="12").contains(&&text[5..7])
        && ("01"..="31").contains(&&text[8..10])
}

/// A day open for writing. The locks of its data and hot directory are held until the day and
/// everything made from it (logs, writers, readers, archiver) is dropped.
pub struct Day {
    storage: Arc<dyn Storage>,
    dir: PathBuf,
    hot_dir: PathBuf,
    control: Arc<Control>,
    logs: [Log; 2],
    medium: Medium,
    hot_missing_bytes: u64,
    hot_doubtful: bool,
    /// The control page is of a run of this boot: its marks count.
    hot_known: bool,
    sealed: bool,
}

impl Day {
    /// Opens or begins the day. Refuses a data or hot directory that another process writes, and a
    /// hot directory that belongs to another day's directory that still exists, or that holds what no
    /// archive has of one that does not.
    pub fn open(spec: &DaySpec, now: Nanos) -> Result<Day, StoreError> {
        spec.check()?;
        let storage = &*spec.storage;
        make_dir(storage, &spec.data)?;
        let data =
            storage.canonicalize(&spec.data).map_err(|e| StoreError::io("find", &spec.data, e))?;
        let data_lock = lock_data(storage, &data)?;
        let dir = data.join(&spec.date);
        make_private_dir(storage, &dir)?;
        sync_dir(storage, &data)?;
        remove_drafts(storage, &dir)?;
        // A run that died between a rename and its sync left a file that is seen and whose name may not
        // be on the disk: before anything in it counts, and before more is written to it.
        sync_dir(storage, &dir)?;

        let mut states = [None; 2];
        for log in LogIndex::ALL {
            let state = match confirmed::read(storage, &dir, log)? {
                Some(state) => state,
                None => begin_log(storage, &dir, log, spec.segment_bytes)?,
            };
            states[log as usize] = Some(state);
        }
        let states = states.map(|s| s.expect("filled for every log just above"));

        let hot_dir = choose_hot_dir(&dir, spec)?;
        refuse_foreign(storage, &hot_dir)?;
        let hot_lock = lock_dir(storage, &hot_dir)?;
        let FileSystem { medium, block_bytes, free_bytes } = storage
            .file_system(&hot_dir)
            .map_err(|e| StoreError::io("ask the file system of", &hot_dir, e))?;
        if medium == Medium::HugePages && !spec.segment_bytes.is_multiple_of(block_bytes) {
            return Err(StoreError::Option {
                option: "segment_bytes",
                value: spec.segment_bytes.to_string(),
                allowed: "a multiple of the huge page on hugetlbfs",
            });
        }
        let options = LogIndex::ALL.map(|log| LogOptions {
            storage: Arc::clone(&spec.storage),
            log,
            hot: Some(hot_dir.clone()),
            archive: spec.archive.then(|| dir.clone()),
            segment_bytes: states[log as usize].segment_bytes,
            log_id: states[log as usize].log_id,
            hot_segments_max: spec.hot_segments_max,
        });
        let both = [&options[0], &options[1]];
        remove_drafts(storage, &hot_dir)?;
        let (control, known) = open_control(storage, &dir, &hot_dir, both, block_bytes)?;
        let same_boot = known && control.boot() == storage.boot();
        let hot_doubtful = known && !same_boot;
        let committed = control.committed(LogIndex::Command).seq;
        let control = Arc::new(control);
        let locks = [data_lock, hot_lock];
        let hold = Arc::new(Hold { control: Arc::clone(&control), locks });

        let logs = options.map(|options| {
            let mut confirmed = states[options.log as usize].position;
            if same_boot {
                // This memory was not away: what was committed in it was acknowledged.
                confirmed = confirmed.max(control.committed(options.log).position);
            }
            Log {
                pool: Some(Arc::new(Pool::new(Arc::clone(&hold), options.hot_segments_max))),
                options: Arc::new(options),
                control: Some(Arc::clone(&control)),
                confirmed: Arc::new(AtomicU64::new(confirmed)),
                hot_doubtful,
            }
        });
        let wanted = [0, 1].map(|at: usize| {
            let options = logs[at].options();
            options.segment_bytes.saturating_mul(options.hot_segments_max as u64)
        });
        let total = wanted[0].saturating_add(wanted[1]);
        // A file system that tells no size may hold all of it: then what is configured counts.
        let used = used_bytes(storage, &hot_dir)?;
        let hot_missing_bytes =
            free_bytes.map_or(0, |free| total.saturating_sub(free.saturating_add(used)));
        // What is missing is missing to both alike; the ladder has to know.
        let hot_bytes = wanted.map(|bytes| bytes.saturating_sub(hot_missing_bytes / 2));
        // The marks of another boot stay doubtful until recovery is through: it may be interrupted.
        let this_boot = if hot_doubtful { control.boot() } else { storage.boot() };
        control.begin(storage.pid(), now, this_boot, hot_bytes);
        write_hot_note(storage, &dir, &hot_dir)?;
        let sealed = storage.exists(&sealed_mark(&dir));
        Ok(Day {
            storage: Arc::clone(&spec.storage),
            dir,
            hot_dir,
            control,
            logs,
            medium,
            hot_missing_bytes,
            hot_doubtful,
            // A page that a refused start made has seen nothing.
            hot_known: same_boot && committed > Seq(0),
            sealed,
        })
    }

    /// One of its logs.
    pub fn log(&self, log: LogIndex) -> &Log {
        &self.logs[log as usize]
    }

    /// The control page.
    pub fn control(&self) -> &Arc<Control> {
        &self.control
    }

    /// The archiver (without an archive: only the preparer in it works); call after both logs are
    /// recovered and their writers open. One per day.
    pub fn archiver(&self, options: ArchiverOptions) -> Result<Archiver, StoreError> {
        // From here on records may be written.
        remove_sealed_mark(&*self.storage, &self.dir)?;
        self.control.set_boot(self.storage.boot());
        Archiver::new(Arc::clone(&self.control), [&self.logs[0], &self.logs[1]], options)
    }

    /// What the hot tier lies on.
    pub fn medium(&self) -> Medium {
        self.medium
    }

    /// Bytes that the hot tier's file system lacks for `hot_segments_max` segments of both logs. Not 0
    /// deserves a warning: it works with fewer segments, and the backlog counts against those. 0 when the
    /// file system tells no size.
    pub fn hot_missing_bytes(&self) -> u64 {
        self.hot_missing_bytes
    }

    /// The day's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where it lies.
    pub(super) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    /// The day's hot directory.
    pub fn hot_dir(&self) -> &Path {
        &self.hot_dir
    }

    /// True when records may have been written that neither the hot tier nor the archive has:
    /// `commands` continues from the archive without marks of this boot, or from a hot tier of
    /// another, and the run before did not end in [`Day::seal`]. With marks of this boot recovery has
    /// found what was committed, also when every hot segment was full, archived and unlinked.
    pub fn may_lack_records(&self, commands: &Recovered) -> bool {
        let from_archive = commands.from_archive && !self.hot_known;
        !self.sealed && commands.next_seq.0 > 1 && (from_archive || self.hot_doubtful)
    }

    /// Ends a run in good order, after writers and archiver are gone: archives what is left and notes
    /// that the archive has all. False when it has not (it failed, there is none).
    pub fn seal(&self) -> Result<bool, StoreError> {
        let both = [&self.logs[0], &self.logs[1]];
        let options = ArchiverOptions::AT_ONCE;
        Archiver::new(Arc::clone(&self.control), both, options)?.drain()?;
        if !self.is_archived() {
            return Ok(false);
        }
        let path = sealed_mark(&self.dir);
        self.storage
            .open(&path, OpenMode::Create)
            .and_then(|f| f.sync_all())
            .map_err(|e| StoreError::io("create", &path, e))?;
        sync_dir(&*self.storage, &self.dir)?;
        Ok(true)
    }

    /// True when the archive confirms everything written.
    fn is_archived(&self) -> bool {
        LogIndex::ALL.into_iter().all(|log| {
            let written = self.control.written(log);
            let confirmed = self.control.confirmed(log) >= written.position;
            self.logs[log as usize].options.archive.is_some() && (confirmed || written.seq.0 == 0)
        })
    }

    /// Gives the memory of the hot tier back when the archive confirms everything written; false,
    /// and nothing done, when it does not. For the end of the day, after the archiver is drained.
    pub fn retire_hot(self) -> Result<bool, StoreError> {
        if !self.is_archived() {
            return Ok(false);
        }
        clear_hot_dir(&*self.storage, &self.hot_dir)?;
        self.storage
            .remove_dir(&self.hot_dir)
            .map_err(|e| StoreError::io("remove", &self.hot_dir, e))?;
        Ok(true)
    }
}

/// A day open for reading: running, stopped, without hot tier, or copied elsewhere.
pub struct DayView {
    storage: Arc<dyn Storage>,
    logs: [Log; 2],
    control: Option<Arc<Control>>,
}

impl DayView {
    /// [`DayView::open_in`] on the host's files.
    pub fn open(dir: &Path) -> Result<DayView, StoreError> {
        DayView::open_in(files(), dir)
    }

    /// Opens the day whose directory is `dir`. With the hot tier at hand readers see what is
    /// committed; without, every whole record of the archive.
    pub fn open_in(storage: Arc<dyn Storage>, dir: &Path) -> Result<DayView, StoreError> {
        let dir = storage.canonicalize(dir).map_err(|e| StoreError::io("find", dir, e))?;
        let mut found = [None; 2];
        for log in LogIndex::ALL {
            let state = match confirmed::read(&*storage, &dir, log)? {
                Some(state) => Some((state.log_id, state.segment_bytes, state.position)),
                None => identity_from_segment(&*storage, &dir, log)?,
            };
            found[log as usize] = state;
        }
        let Some(known) = found.iter().flatten().next().copied() else {
            return Err(StoreError::NotALog {
                path: dir,
                why: "not the directory of a day: no confirmed file, no segments".into(),
            });
        };
        // A log without any file of its own (copied segment by segment) is empty.
        let identity = found.map(|f| f.unwrap_or((0, known.1, 0)));

        let hot = read_hot_note(&*storage, &dir)?;
        let mut control = None;
        if let Some(hot) = &hot
            && let Some(page) = Control::open(&*storage, hot, false)?
        {
            // A note that was copied along may point to the hot tier of a later life of that name.
            let same = LogIndex::ALL.iter().all(|&l| page.log_id(l) == identity[l as usize].0);
            // Nothing committed although the archive has records: a start that is under way, or was
            // refused. Its page says nothing about the archive.
            let blank = LogIndex::ALL.iter().any(|&l| {
                let has_records = page.archived(l).seq.0 > 0 || identity[l as usize].2 > 0;
                has_records && page.committed(l).seq.0 == 0
            });
            control = (same && !blank).then(|| Arc::new(page));
        }
        let hot = if control.is_some() { hot } else { None };
        let logs = LogIndex::ALL.map(|log| {
            let (log_id, segment_bytes, confirmed) = identity[log as usize];
            Log {
                options: Arc::new(LogOptions {
                    storage: Arc::clone(&storage),
                    log,
                    hot: hot.clone(),
                    archive: Some(dir.clone()),
                    segment_bytes,
                    log_id,
                    hot_segments_max: 0,
                }),
                control: control.clone(),
                pool: None,
                confirmed: Arc::new(AtomicU64::new(confirmed)),
                hot_doubtful: false,
            }
        });
        Ok(DayView { storage, logs, control })
    }

    /// One of its logs.
    pub fn log(&self, log: LogIndex) -> &Log {
        &self.logs[log as usize]
    }

    /// The control page, `None` when the hot tier is gone.
    pub fn control(&self) -> Option<&Arc<Control>> {
        self.control.as_ref()
    }

    /// True while an exchange writes the day.
    pub fn is_running(&self) -> bool {
        let Some(control) = &self.control else { return false };
        control.boot() == self.storage.boot() && self.storage.is_alive(control.writer_pid())
    }
}

fn make_dir(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    // What is new has a name in the directory above, which has to be as durable as what it will hold.
    let new: Vec<&Path> = dir.ancestors().take_while(|d| !storage.exists(d)).collect();
    storage.create_dir_all(dir).map_err(|e| StoreError::io("create", dir, e))?;
    for made in new {
        let above = made.parent().filter(|p| !p.as_os_str().is_empty());
        sync_dir(storage, above.unwrap_or(Path::new(".")))?;
    }
    Ok(())
}

/// Makes a directory for logs: they hold the tokens of live sessions, which are for owner and group.
fn make_private_dir(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    storage.create_private_dir(dir).map_err(|e| StoreError::io("create", dir, e))
}

/// /dev/shm is open to all users: what another one has put there first is not ours to use.
fn refuse_foreign(storage: &dyn Storage, hot: &Path) -> Result<(), StoreError> {
    let owner = |dir: &Path| storage.owner(dir).map_err(|e| StoreError::io("stat", dir, e));
    let own = storage.user();
    let above = hot.parent().unwrap_or(hot);
    for (dir, root_may) in [(hot, false), (above, true)] {
        let uid = owner(dir)?;
        if uid != own && !(root_may && uid == 0) {
            return Err(StoreError::NotALog {
                path: dir.into(),
                why: format!(
                    "it belongs to user {uid}, this process is user {own}: remove it, or name \
                     another hot directory"
                ),
            });
        }
    }
    Ok(())
}

/// Locks the data directory for this process: file `lock`, which also tells the pid.
fn lock_data(storage: &dyn Storage, data: &Path) -> Result<Box<dyn StorageFile>, StoreError> {
    let path = data.join("lock");
    let io = |operation| {
        let path = path.clone();
        move |error| StoreError::io(operation, &path, error)
    };
    // Kept: it tells the holder's pid, and only the holder may change that.
    let file = storage.open(&path, OpenMode::Keep).map_err(io("open"))?;
    if !file.try_lock().map_err(io("lock"))? {
        let mut text = [0; 16];
        let len = file.read_at(&mut text, 0).unwrap_or(0);
        let pid = std::str::from_utf8(&text[..len]).ok().and_then(|t| t.trim().parse().ok());
        return Err(StoreError::Locked { path, pid: pid.unwrap_or(0) });
    }
    let text = format!("{}\n", storage.pid());
    // Only told to who finds it locked: a full disk does not stop a start.
    let _ = file.write_all_at(text.as_bytes(), 0).and_then(|()| file.set_len(text.len() as u64));
    Ok(file)
}

/// Locks a hot directory: two data directories may name the same one.
fn lock_dir(storage: &dyn Storage, dir: &Path) -> Result<Box<dyn StorageFile>, StoreError> {
    let file = storage.open(dir, OpenMode::Read).map_err(|e| StoreError::io("open", dir, e))?;
    if !file.try_lock().map_err(|e| StoreError::io("lock", dir, e))? {
        let pid = Control::open(storage, dir, false).ok().flatten().map_or(0, |c| c.writer_pid());
        return Err(StoreError::Locked { path: dir.into(), pid });
    }
    Ok(file)
}

/// Bytes that the day's segments take in the hot directory already.
fn used_bytes(storage: &dyn Storage, hot: &Path) -> Result<u64, StoreError> {
    let mut total = 0;
    for log in LogIndex::ALL {
        for index in list(storage, hot, log)? {
            let path = hot.join(file_name(log, index));
            total += storage.len(&path).map_err(|e| StoreError::io("stat", &path, e))?;
        }
    }
    Ok(total)
}

/// Bytes free below `dir` when it lies in memory (tmpfs, hugetlbfs); `None` when it does not, is not
/// there, or tells no size. For whoever chooses a place for the hot tier.
pub fn memory_free_bytes(dir: &Path) -> Option<u64> {
    let found = FileStorage.file_system(dir).ok()?;
    found.free_bytes.filter(|_| found.medium != Medium::Degraded)
}

/// Begins a log of a new day. Refuses when segments lie there without the file that explains them.
fn begin_log(
    storage: &dyn Storage,
    dir: &Path,
    log: LogIndex,
    segment_bytes: u64,
) -> Result<confirmed::Confirmed, StoreError> {
    if let Some(index) = list(storage, dir, log)?.first() {
        return Err(StoreError::NotALog {
            path: dir.join(file_name(log, *index)),
            why: format!("there is no {}.confirmed beside it", log.name()),
        });
    }
    let id = storage.random().map_err(|e| StoreError::io("draw an id for", dir, e))?;
    ConfirmedFile::create(storage, dir, log, id, segment_bytes)
}

/// The hot directory of this day: the one it was begun in if that still exists, else as configured.
/// One without any segment was only looked at (start was refused): nothing is left behind in it.
fn choose_hot_dir(dir: &Path, spec: &DaySpec) -> Result<PathBuf, StoreError> {
    let storage = &*spec.storage;
    if let Some(hot) = read_hot_note(storage, dir)?
        && storage.exists(&hot.join(CONTROL_FILE))
        && (!list(storage, &hot, LogIndex::Command)?.is_empty()
            || !list(storage, &hot, LogIndex::Event)?.is_empty())
    {
        return Ok(hot);
    }
    make_dir(storage, &spec.hot)?;
    let root = storage.canonicalize(&spec.hot).map_err(|e| StoreError::io("find", &spec.hot, e))?;
    let hot = root.join(format!("{}-{}", spec.name, spec.date));
    make_private_dir(storage, &hot)?;
    Ok(hot)
}

/// There when the last run ended with everything in the archive.
fn sealed_mark(dir: &Path) -> PathBuf {
    dir.join("sealed")
}

fn remove_sealed_mark(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    let path = sealed_mark(dir);
    match storage.unlink(&path) {
        Ok(()) => sync_dir(storage, dir),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(StoreError::io("remove", &path, error)),
    }
}

fn hot_note(dir: &Path) -> PathBuf {
    dir.join("hot")
}

pub(super) fn read_hot_note(
    storage: &dyn Storage,
    dir: &Path,
) -> Result<Option<PathBuf>, StoreError> {
    let path = hot_note(dir);
    let text = storage
        .read(&path)
        .and_then(|b| String::from_utf8(b).map_err(|_| io::ErrorKind::InvalidData.into()));
    match text {
        Ok(text) => Ok(text.lines().next().filter(|l| !l.is_empty()).map(PathBuf::from)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(StoreError::io("read", &path, error)),
    }
}

fn write_hot_note(storage: &dyn Storage, dir: &Path, hot: &Path) -> Result<(), StoreError> {
    let path = hot_note(dir);
    let Some(text) = hot.to_str() else {
        let error = io::Error::new(io::ErrorKind::InvalidInput, "the hot path is not UTF-8");
        return Err(StoreError::io("write", &path, error));
    };
    if read_hot_note(storage, dir)?.as_deref() == Some(hot) {
        return Ok(()); // a full disk does not stop a start
    }
    storage
        .write_durably(&path, format!("{text}\n").as_bytes())
        .map_err(|e| StoreError::io("write", &path, e))
}

/// The control page of the hot directory, and whether it is that of an earlier run of this day.
fn open_control(
    storage: &dyn Storage,
    dir: &Path,
    hot: &Path,
    logs: [&LogOptions; 2],
    block_bytes: u64,
) -> Result<(Control, bool), StoreError> {
    let file_bytes = block_bytes.max(4096).next_multiple_of(4096);
    let Some(control) = Control::open(storage, hot, true)? else {
        return Ok((Control::create(storage, hot, dir, logs, file_bytes)?, false));
    };
    // The hot tier of another day's directory (also one that this was copied from)? If that is gone,
    // or moved here, nobody else can use it.
    let owner = control.owner();
    let id = control.log_id(LogIndex::Command);
    let elsewhere = confirmed::read(storage, &owner, LogIndex::Command)?;
    if owner != dir && elsewhere.is_some_and(|c| c.log_id == id) {
        return Err(StoreError::NotALog {
            path: hot.into(),
            why: format!("it is the hot directory of {}", owner.display()),
        });
    }
    if logs.iter().all(|o| control.log_id(o.log) == o.log_id) {
        control.set_owner(dir)?;
        return Ok((control, true));
    }
    refuse_only_copy(storage, dir, hot, &control)?;
    drop(control);
    clear_hot_dir(storage, hot)?;
    Ok((Control::create(storage, hot, dir, logs, file_bytes)?, false))
}

/// Records of this boot that no archive has are in this hot directory alone. That the day's directory is
/// another one than theirs most likely means that its disk is not mounted.
fn refuse_only_copy(
    storage: &dyn Storage,
    dir: &Path,
    hot: &Path,
    control: &Control,
) -> Result<(), StoreError> {
    if control.boot() != storage.boot() {
        return Ok(()); // its marks prove nothing, and neither do its pages
    }
    for log in LogIndex::ALL {
        let (written, archived) = (control.written(log).seq, control.archived(log).seq);
        if written > archived {
            return Err(StoreError::OnlyCopy {
                hot: hot.into(),
                owner: control.owner(),
                dir: dir.into(),
                records: written.0 - archived.0,
                log: log.name(),
            });
        }
    }
    Ok(())
}

/// Unlinks the store's own files, and no others, in a hot directory.
fn clear_hot_dir(storage: &dyn Storage, hot: &Path) -> Result<(), StoreError> {
    remove_drafts(storage, hot)?;
    let mut paths = Vec::new();
    for log in LogIndex::ALL {
        paths.extend(list(storage, hot, log)?.into_iter().map(|i| hot.join(file_name(log, i))));
    }
    // Last: it says whose the segments are, should this end half-way.
    paths.push(hot.join(CONTROL_FILE));
    for path in paths {
        match storage.unlink(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("unlink", &path, error));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Unlinks what an earlier run left half made.
fn remove_drafts(storage: &dyn Storage, dir: &Path) -> Result<(), StoreError> {
    for name in storage.list(dir).map_err(|e| StoreError::io("list", dir, e))? {
        let path = dir.join(name);
        if path.extension().is_some_and(|e| e == "tmp") {
            storage.unlink(&path).map_err(|e| StoreError::io("unlink", &path, e))?;
        }
    }
    Ok(())
}

/// Log id, segment size and confirmed position of a directory that holds segments only.
fn identity_from_segment(
    storage: &dyn Storage,
    dir: &Path,
    log: LogIndex,
) -> Result<Option<(u64, u64, u64)>, StoreError> {
    let Some(&index) = list(storage, dir, log)?.first() else { return Ok(None) };
    let path = dir.join(file_name(log, index));
    let mut header = [0; SEGMENT_HEADER_BYTES];
    storage
        .open(&path, OpenMode::Read)
        .and_then(|f| f.read_exact_at(&mut header, 0))
        .map_err(|e| StoreError::io("read", &path, e))?;
    let (log_id, _, segment_bytes) = read_header(&header, log, &path)?;
    if !segment_bytes.is_multiple_of(4096) || segment_bytes < 8192 {
        let why = format!("segments of {segment_bytes} bytes");
        return Err(StoreError::NotALog { path, why });
    }
    Ok(Some((log_id, segment_bytes, 0)))
}

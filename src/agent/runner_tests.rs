use super::*;

/// Does `per_cycle` items each cycle until `cycles_left` is used up, then what `at_end` says.
struct Busy {
    per_cycle: usize,
    cycles_left: usize,
    at_end: AtEnd,
    housekept: Arc<AtomicU64>,
}

enum AtEnd {
    Idle,
    Stop(Arc<AtomicBool>),
    Panic,
}

impl Busy {
    fn new(per_cycle: usize, cycles_left: usize, at_end: AtEnd) -> Busy {
        Busy { per_cycle, cycles_left, at_end, housekept: Arc::default() }
    }
}

impl Agent for Busy {
    fn name(&self) -> &'static str {
        "busy"
    }
    fn duty_cycle(&mut self, _now: Nanos) -> usize {
        if self.cycles_left > 0 {
            self.cycles_left -= 1;
            return self.per_cycle;
        }
        match &self.at_end {
            AtEnd::Idle => {}
            AtEnd::Stop(flag) => flag.store(true, Ordering::Relaxed),
            AtEnd::Panic => panic!("on {}", "purpose"),
        }
        0
    }
    fn housekeeping(&mut self, _now: Nanos) {
        self.housekept.fetch_add(1, Ordering::Relaxed);
    }
}

fn options(idle: IdleStrategy) -> (RunnerOptions, Arc<AtomicBool>) {
    let stop = Arc::new(AtomicBool::new(false));
    let mut options = RunnerOptions::new(SystemClock::new(), stop.clone());
    options.idle = idle;
    (options, stop)
}

fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

#[test]
fn step_counts_cycles_work_and_overruns() {
    let (options, _stop) = options(IdleStrategy::Spin);
    let budget = options.cycle_budget_ns;
    let busy = Busy::new(3, 2, AtEnd::Idle);
    let housekept = busy.housekept.clone();
    let mut runner = Runner::new("r", vec![Box::new(busy)], options);
    let counters = runner.counters();
    // Start at 1 s: the first housekeeping is due; its own length (real time) is taken off.
    assert_eq!(runner.step(Nanos(1_000_000_000)), 3);
    assert_eq!(runner.step(Nanos(1_005_000_000)), 3);
    assert_eq!(runner.step(Nanos(1_005_000_000 + budget)), 0);
    // Idle cycles have no length.
    assert_eq!(runner.step(Nanos(1_009_999_999)), 0);
    assert_eq!(get(&counters.cycles), 4);
    assert_eq!(get(&counters.busy_cycles), 2);
    assert_eq!(get(&counters.work), 6);
    assert_eq!(get(&counters.overruns), 1);
    let longest = get(&counters.longest_cycle_ns);
    assert!((budget..=5_000_000).contains(&longest), "{longest}");
    assert_eq!(get(&housekept), 1);
    runner.step(Nanos(1_010_000_000));
    assert_eq!(get(&housekept), 2);
    assert_eq!(counters.values()[0], ("cycles", 5));
}

#[test]
fn every_idle_strategy_stops() {
    for idle in [IdleStrategy::Spin, IdleStrategy::Yield, IdleStrategy::Park { spin_ns: 0 }] {
        let (options, stop) = options(idle);
        let busy = Busy::new(1, 10, AtEnd::Stop(stop.clone()));
        let handle = Runner::spawn("stops", vec![Box::new(busy)], options).unwrap();
        let counters = handle.counters();
        assert_eq!(handle.name(), "stops");
        assert_eq!(handle.join(), Ok(()));
        assert_eq!(get(&counters.work), 10);
        assert!(stop.load(Ordering::Relaxed));
    }
}

#[test]
fn run_here_runs_on_this_thread() {
    let (options, stop) = options(IdleStrategy::Yield);
    let busy = Busy::new(2, 5, AtEnd::Stop(stop));
    let runner = Runner::new("here", vec![Box::new(busy)], options);
    let counters = runner.counters();
    assert_eq!(runner.run_here(), Ok(()));
    assert_eq!(get(&counters.work), 10);
}

#[test]
fn a_panic_names_its_agent_and_stops_the_others() {
    let (options, stop) = options(IdleStrategy::PARK);
    let innocent = Busy::new(0, 0, AtEnd::Idle);
    let guilty = Busy::new(1, 3, AtEnd::Panic);
    let handles = vec![
        Runner::spawn("innocent", vec![Box::new(innocent)], options.clone()).unwrap(),
        Runner::spawn("guilty", vec![Box::new(guilty)], options).unwrap(),
    ];
    let panic = join_all(handles).unwrap_err();
    assert!(stop.load(Ordering::Relaxed));
    assert_eq!(
        panic,
        AgentPanic { runner: "guilty".into(), agent: "busy", message: "on purpose".into() }
    );
    assert_eq!(panic.to_string(), "agent busy on runner guilty panicked: on purpose");
}

#[test]
fn a_parked_runner_wakes_when_its_descriptor_is_readable() {
    use std::io::Write;
    use std::os::fd::AsRawFd;

    /// Stops when a byte is there.
    struct Listener {
        stream: std::os::unix::net::UnixStream,
        stop: Arc<AtomicBool>,
    }
    impl Agent for Listener {
        fn name(&self) -> &'static str {
            "listener"
        }
        fn duty_cycle(&mut self, _now: Nanos) -> usize {
            let heard = std::io::Read::read(&mut self.stream, &mut [0; 8]).unwrap_or(0);
            if heard > 0 {
                self.stop.store(true, Ordering::Relaxed);
            }
            heard
        }
    }

    let (ours, mut theirs) = std::os::unix::net::UnixStream::pair().unwrap();
    ours.set_nonblocking(true).unwrap();
    let (mut options, stop) = options(IdleStrategy::Park { spin_ns: 0 });
    options.park_fds = vec![ours.as_raw_fd()];
    let listener = Listener { stream: ours, stop };
    let handle = Runner::spawn("parked", vec![Box::new(listener)], options).unwrap();
    let counters = handle.counters();
    while get(&counters.parks) == 0 {
        std::thread::yield_now();
    }
    theirs.write_all(b"x").unwrap();
    assert_eq!(handle.join(), Ok(()));
}

#[test]
fn a_core_is_pinned_or_the_handle_says_no() {
    let Some(&core) = available_cores().first() else {
        eprintln!("SKIPPED: this host does not list its cores");
        return;
    };
    let (mut wanted, stop) = options(IdleStrategy::Yield);
    wanted.core = Some(core);
    let done = Busy::new(0, 0, AtEnd::Stop(stop));
    let handle = Runner::spawn("pinned", vec![Box::new(done)], wanted).unwrap();
    assert_eq!(handle.pinned_core(), Some(core));
    handle.join().unwrap();

    let (mut absurd, stop) = options(IdleStrategy::Yield);
    absurd.core = Some(1_000);
    let done = Busy::new(0, 0, AtEnd::Stop(stop));
    let handle = Runner::spawn("unpinned", vec![Box::new(done)], absurd).unwrap();
    assert_eq!((handle.pinned_core(), handle.idle()), (None, IdleStrategy::Yield));
    handle.join().unwrap();
}

#[test]
fn who_cannot_spin_on_a_core_of_his_own_parks_and_wakes_sharply() {
    /// Asks the kernel for the slack of its thread's timers.
    struct Asks(Arc<AtomicU64>, Arc<AtomicBool>);
    impl Agent for Asks {
        fn name(&self) -> &'static str {
            "asks"
        }
        fn duty_cycle(&mut self, _now: Nanos) -> usize {
            // SAFETY: takes and gives integers.
            let slack_ns = unsafe { libc::prctl(libc::PR_GET_TIMERSLACK) };
            self.0.store(slack_ns as u64, Ordering::Relaxed);
            self.1.store(true, Ordering::Relaxed);
            0
        }
    }
    let (mut absurd, stop) = options(IdleStrategy::Spin);
    absurd.core = Some(1_000);
    let slack_ns = Arc::new(AtomicU64::new(0));
    let asks = Asks(slack_ns.clone(), stop);
    let handle = Runner::spawn("sharp", vec![Box::new(asks)], absurd).unwrap();
    assert_eq!(handle.idle(), IdleStrategy::PARK);
    handle.join().unwrap();
    assert_eq!(get(&slack_ns), 1_000);
}

#[test]
fn a_core_that_nobody_starts_out_on_is_usable() {
    let [first, .., last] = available_cores()[..] else {
        eprintln!("SKIPPED: needs two cores");
        return;
    };
    // As on a host with isolcpus: what this thread starts inherits one core.
    let usable = std::thread::spawn(move || {
        assert!(pin(first));
        assert_eq!(available_cores(), [first]);
        usable_cores([last, 1_000].into_iter())
    });
    assert_eq!(usable.join().unwrap(), [first, last]);
}

use super::*;

/// A ring in ordinary memory with both ends open, its indices starting at `start`.
struct Memory {
    words: Box<[AtomicU32; 3]>,
    entries: Box<[u64]>,
}

impl Memory {
    fn new(size: u32, start: u32) -> Memory {
        let words = [AtomicU32::new(start), AtomicU32::new(start), AtomicU32::new(0)];
        Memory { words: Box::new(words), entries: vec![u64::MAX; size as usize].into_boxed_slice() }
    }

    fn ends(&mut self) -> (Producer<u64>, Consumer<u64>) {
        let size = self.entries.len() as u32;
        let entries = NonNull::new(self.entries.as_mut_ptr()).unwrap();
        let shared = || Shared {
            producer: NonNull::from(&self.words[0]),
            consumer: NonNull::from(&self.words[1]),
            flags: NonNull::from(&self.words[2]),
            size,
            entries,
            _mapping: None,
        };
        (Producer::over(shared()), Consumer::over(shared()))
    }
}

/// Starts of interest: nothing, and so near 2^32 that the run below goes over it.
const STARTS: &[u32] = &[0, 1, u32::MAX, u32::MAX - 3, u32::MAX - 63, u32::MAX - 100, 1 << 31];

#[test]
fn entries_come_out_in_order_across_the_wrap_of_the_index() {
    for &start in STARTS {
        for size in [1, 2, 64] {
            let mut memory = Memory::new(size, start);
            let (mut producer, mut consumer) = memory.ends();
            let (mut pushed, mut popped) = (0u64, 0u64);
            for round in 0..400u64 {
                for _ in 0..(round * 7) % 90 {
                    let in_ring = pushed - popped;
                    assert_eq!(producer.push(pushed), in_ring < u64::from(size), "{start}");
                    if in_ring < u64::from(size) {
                        pushed += 1;
                    }
                }
                assert_eq!(consumer.available(), 0, "seen before it was published");
                producer.publish();
                for _ in 0..(round * 5) % 70 {
                    let Some(value) = consumer.pop() else { break };
                    assert_eq!(value, popped);
                    popped += 1;
                }
                // Empty the ring, so that the check above holds in every round.
                while let Some(value) = consumer.pop() {
                    assert_eq!(value, popped);
                    popped += 1;
                }
                consumer.publish();
                assert_eq!(producer.unread(), 0);
            }
            assert_eq!(pushed, popped);
            assert!(pushed > u64::from(size) * 3, "the ring was not used");
        }
    }
}

#[test]
fn a_full_ring_takes_nothing_until_the_consumer_published() {
    for &start in STARTS {
        let mut memory = Memory::new(4, start);
        let (mut producer, mut consumer) = memory.ends();
        assert_eq!((0..6).filter(|&i| producer.push(i)).count(), 4);
        assert_eq!(producer.publish(), 4);
        assert_eq!(producer.publish(), 0);
        assert_eq!(producer.unread(), 4);
        assert_eq!(consumer.pop(), Some(0));
        assert!(!producer.push(9), "a slot was used that the consumer still has");
        consumer.publish();
        assert!(producer.push(9));
        assert!(!producer.push(10));
    }
}

#[test]
fn indices_that_cannot_be_are_full_and_empty_and_never_a_panic() {
    for &start in STARTS {
        for nonsense in [5, 1 << 20, 1 << 31, u32::MAX - 1] {
            let mut memory = Memory::new(4, start);
            let (mut producer, mut consumer) = memory.ends();
            memory.words[0].store(start.wrapping_add(nonsense), Ordering::Release);
            assert_eq!(consumer.available(), 0, "{nonsense}");
            assert_eq!(consumer.pop(), None);
            while producer.push(1) {}
            memory.words[1].store(start.wrapping_add(nonsense), Ordering::Release);
            assert_eq!(producer.room(), 0, "{nonsense}");
            assert!(!producer.push(1));
            assert!(producer.unread() <= 4);
        }
    }
}

#[test]
fn the_wakeup_flag_is_read_afresh() {
    let mut memory = Memory::new(4, 0);
    let (producer, _consumer) = memory.ends();
    assert!(!producer.needs_wakeup());
    memory.words[2].store(libc::XDP_RING_NEED_WAKEUP, Ordering::Relaxed);
    assert!(producer.needs_wakeup());
    assert!(producer.needs_wakeup_after_publish());
}

#[test]
fn two_threads_pass_numbers_across_the_wrap() {
    const COUNT: u64 = 50_000;
    let mut memory = Memory::new(64, u32::MAX - 1000);
    let (mut producer, mut consumer) = memory.ends();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            for i in 0..COUNT {
                while !producer.push(i) {
                    producer.publish();
                    std::thread::yield_now();
                }
                if i % 16 == 0 {
                    producer.publish();
                }
            }
            producer.publish();
        });
        let mut expected = 0;
        while expected < COUNT {
            match consumer.pop() {
                Some(value) => {
                    assert_eq!(value, expected);
                    expected += 1;
                }
                None => {
                    consumer.publish();
                    std::thread::yield_now();
                }
            }
        }
    });
}

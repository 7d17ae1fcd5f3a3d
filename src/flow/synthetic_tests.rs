use std::collections::BTreeMap;

use super::*;

fn flow(options: &SyntheticOptions) -> (Vec<FlowCommand>, Totals) {
    let mut synthetic = Synthetic::new(options).unwrap();
    let commands: Vec<_> = synthetic.by_ref().collect();
    (commands, synthetic.totals())
}

/// Applies a flow to plain price-time books that share nothing with the generator and checks
/// every promise; returns executions and executed shares.
fn apply(options: &SyntheticOptions, commands: &[FlowCommand]) -> (u64, u64) {
    /// Resting: order number -> (side, price, open, arrival).
    type Plain = BTreeMap<u64, (Side, u32, u32, usize)>;
    let mut books: Vec<Plain> = vec![Plain::new(); options.symbols.len()];
    let (mut executions, mut shares) = (0, 0);
    for (arrival, command) in commands.iter().enumerate() {
        let symbol = &options.symbols[usize::from(command.symbol)];
        let book = &mut books[usize::from(command.symbol)];
        let price = command.price.0;
        assert!(price.is_multiple_of(symbol.tick.0), "{command:?}");
        assert!((symbol.lowest..=symbol.highest).contains(&command.price), "{command:?}");
        assert!(command.quantity.0 > 0, "{command:?}");
        if symbol.lot.0 > 1 {
            assert!(command.quantity.0.is_multiple_of(symbol.lot.0), "{command:?}");
        }
        match command.op {
            FlowOp::New | FlowOp::Immediate => {
                let mut left = command.quantity.0;
                let mut met = Vec::new();
                while left > 0 {
                    let best = book
                        .iter()
                        .filter(|(_, o)| o.0 != command.side)
                        .min_by_key(|(_, o)| {
                            let key = i64::from(o.1);
                            (if command.side == Side::Buy { key } else { -key }, o.3)
                        })
                        .map(|(&id, &o)| (id, o));
                    let Some((id, (_, at, open, _))) = best else { break };
                    let crosses = if command.side == Side::Buy { price >= at } else { price <= at };
                    if !crosses {
                        break;
                    }
                    let quantity = left.min(open);
                    left -= quantity;
                    met.push(id);
                    executions += 1;
                    shares += u64::from(quantity);
                    if quantity == open {
                        book.remove(&id);
                    } else if let Some(order) = book.get_mut(&id) {
                        order.2 -= quantity;
                    }
                }
                if command.op == FlowOp::New {
                    assert!(met.is_empty(), "a passive order met somebody: {command:?}");
                    let order = (command.side, price, left, arrival);
                    assert!(book.insert(command.order_id, order).is_none());
                } else {
                    assert_eq!(left, 0, "an aggressive order is filled: {command:?}");
                    assert!(!met.is_empty());
                    let only = if met.len() == 1 { Some(met[0]) } else { None };
                    assert_eq!(command.expect_resting, only);
                }
            }
            FlowOp::Cancel => {
                let (side, at, open, _) = book.remove(&command.order_id).expect("live");
                assert_eq!((side, at, open), (command.side, price, command.quantity.0));
            }
            FlowOp::Reduce => {
                let order = book.get_mut(&command.order_id).expect("live");
                assert!(command.quantity.0 < order.2);
                order.2 -= command.quantity.0;
            }
        }
    }
    (executions, shares)
}

#[test]
fn one_symbol_has_the_shape_of_the_hour() {
    let options = SyntheticOptions {
        seed: 1,
        rate: 1_000,
        seconds: 30,
        symbols: vec![SymbolFlow::about(Price(5_850_000))],
        resting: None,
    };
    let (commands, totals) = flow(&options);
    assert_eq!(commands.len(), 30_000);
    assert!(commands.is_sorted_by_key(|c| c.at_ns));
    assert!(commands[29_999].at_ns < 30_000_000_000);
    assert_eq!(totals.commands(), 30_000);
    assert_eq!(apply(&options, &commands), (totals.executions, totals.executed_shares));

    let share = |count: u64, of: u64| count * 1_000 / of;
    // Hour: cancels 0.92 per new order (less here, for the book that is built at the start),
    // aggressive 4.5%, reductions 0.56%.
    let cancels = share(totals.cancels, totals.new);
    assert!((870..950).contains(&cancels), "{cancels}");
    let immediate = share(totals.immediate, 30_000);
    assert!((40..50).contains(&immediate), "{immediate}");
    let executions = share(totals.executions, 30_000);
    assert!((50..80).contains(&executions), "{executions}");
    let reductions = share(totals.reductions, 30_000);
    assert!((3..8).contains(&reductions), "{reductions}");
    let hundreds =
        commands.iter().filter(|c| c.op == FlowOp::New && c.quantity == Quantity(100)).count()
            as u64;
    let hundreds = share(hundreds, totals.new);
    assert!((515..540).contains(&hundreds), "{hundreds}");
    assert!((250..450).contains(&totals.resting), "{}", totals.resting);
}

#[test]
fn the_market_looks_like_the_hours() {
    let options = SyntheticOptions {
        seed: 5,
        rate: 2_000,
        seconds: 30,
        symbols: vec![SymbolFlow::about(Price(5_850_000))],
        resting: None,
    };
    let mut synthetic = Synthetic::new(&options).unwrap();
    let (mut spreads, mut improving, mut at_best) = (Vec::new(), 0, 0);
    let mut best = [None::<u32>; 2];
    let (mut lowest_bid, mut highest_bid, mut walks) = (u32::MAX, 0, Vec::new());
    while let Some(command) = synthetic.next() {
        if let Some(best) = best[command.side.index()] {
            let better = match command.side {
                Side::Buy => command.price.0 > best,
                Side::Sell => command.price.0 < best,
            };
            improving += u64::from(command.op == FlowOp::New && better);
            at_best += u64::from(command.op == FlowOp::Cancel && command.price.0 == best);
        }
        let book = &synthetic.markets[0].book;
        best = [book.best(Side::Buy), book.best(Side::Sell)];
        if let [Some(bid), Some(ask)] = best {
            assert!(bid < ask);
            spreads.push((ask - bid) / 100);
            (lowest_bid, highest_bid) = (lowest_bid.min(bid), highest_bid.max(bid));
        }
        if synthetic.totals().commands().is_multiple_of(10_000) {
            walks.push((highest_bid - lowest_bid) / 100);
            (lowest_bid, highest_bid) = (u32::MAX, 0);
        }
    }
    spreads.sort_unstable();
    let median = spreads[spreads.len() / 2];
    assert!((10..30).contains(&median), "median spread {median} ticks; the hour's is 19");
    let totals = synthetic.totals();
    // Hour: 20% of the new orders improve, 18% of the cancels are at the best price.
    let improving = improving * 100 / totals.new;
    assert!((10..25).contains(&improving), "{improving}% improve");
    let at_best = at_best * 100 / totals.cancels;
    assert!((10..35).contains(&at_best), "{at_best}% of the cancels are at the best price");
    // Hour: prices traded within 10,000 commands span 101 to 319 ticks.
    walks.sort_unstable();
    let walk = walks[walks.len() / 2];
    assert!((50..600).contains(&walk), "walked {walk} ticks");
}

#[test]
fn many_symbols_at_a_high_rate() {
    let mut options = SyntheticOptions::random_symbols(3, 100, 43_000, 2);
    options.symbols[7].lot = Quantity(100);
    options.symbols[8].weight = 0;
    let (commands, totals) = flow(&options);
    assert_eq!(commands.len(), 86_000);
    assert_eq!(apply(&options, &commands), (totals.executions, totals.executed_shares));
    assert!(totals.executions * 1_000 / 86_000 >= 40, "{totals:?}");
    let mut per_symbol = vec![0u64; 100];
    for command in &commands {
        per_symbol[usize::from(command.symbol)] += 1;
    }
    assert_eq!(per_symbol[8], 0);
    // Roughly by weight: within a third for those that are big enough to tell.
    let weights: u64 = options.symbols.iter().map(|s| u64::from(s.weight)).sum();
    for (symbol, &count) in options.symbols.iter().zip(&per_symbol) {
        let expected = 86_000 * u64::from(symbol.weight) / weights;
        if symbol.weight > 50 {
            assert!(count * 3 > expected * 2 && count * 3 < expected * 4, "{count} {expected}");
        }
    }
}

#[test]
fn the_same_seed_makes_the_same_flow() {
    let options = SyntheticOptions::random_symbols(11, 5, 500, 4);
    assert_eq!(flow(&options).0, flow(&options).0);
    let other = SyntheticOptions { seed: 12, ..options.clone() };
    assert_ne!(flow(&options).0, flow(&other).0);
}

#[test]
fn a_narrow_band_and_a_tiny_flow_hold() {
    let narrow = SymbolFlow {
        lowest: Price(99_800),
        highest: Price(100_200),
        ..SymbolFlow::about(Price(100_000))
    };
    let cheap = SymbolFlow::about(Price(1));
    for symbol in [narrow, cheap] {
        let mut options = SyntheticOptions {
            seed: 2,
            rate: 500,
            seconds: 10,
            symbols: vec![symbol],
            resting: Some(20),
        };
        let (commands, totals) = flow(&options);
        assert_eq!(apply(&options, &commands), (totals.executions, totals.executed_shares));
        options.rate = 1;
        options.seconds = 1;
        assert_eq!(flow(&options).0.len(), 1);
    }
}

#[test]
fn impossible_options_are_refused_by_name() {
    type Change = fn(&mut SyntheticOptions);
    let good = SyntheticOptions::random_symbols(1, 2, 10, 1);
    let with = |change: Change| {
        let mut options = good.clone();
        change(&mut options);
        Synthetic::new(&options).err().expect("refused").to_string()
    };
    let cases: [(Change, &str); 9] = [
        (|o| o.rate = 0, "rate is 0, must be 1 to"),
        (|o| o.seconds = 0, "seconds are 0, must be 1 to 86400"),
        (|o| o.symbols.clear(), "0 symbols, must be 1 to 65535"),
        (|o| o.symbols[1].tick = Price(0), "symbol 1: start, lowest and highest must be multiples"),
        (|o| o.symbols[1].start.0 += 1, "symbol 1: start, lowest and highest must be multiples"),
        (|o| o.symbols[0].lowest = o.symbols[0].start, "symbol 0: prices must be tick <= lowest"),
        (|o| o.symbols[0].highest = Price(100), "symbol 0: prices must be"),
        (|o| o.symbols[0].lot = Quantity(0), "symbol 0: lot is 0, must be 1 to 10000"),
        (|o| o.symbols.iter_mut().for_each(|s| s.weight = 0), "weights are all 0"),
    ];
    for (change, expected) in cases {
        let error = with(change);
        assert!(error.contains(expected), "{error}");
    }
}

/// The sample is what the generator makes. To write it anew after a change of the generator:
/// `RIALTO_WRITE_SAMPLE=1 cargo test --lib the_sample`.
#[test]
fn the_sample_file_is_made_by_the_generator() {
    use crate::flow::{CommandReader, CommandWriter};
    /// 09:30:00 in ns after midnight.
    const OPEN_NS: u64 = 34_200_000_000_000;
    let options = SyntheticOptions {
        seed: 20_260_101,
        rate: 100,
        seconds: 20,
        symbols: vec![SymbolFlow::about(Price(1_000_000))],
        resting: Some(60),
    };
    let commands: Vec<_> = flow(&options)
        .0
        .into_iter()
        .map(|command| FlowCommand { at_ns: OPEN_NS + command.at_ns, ..command })
        .collect();
    let mut writer = CommandWriter::new(Vec::new()).unwrap();
    for command in &commands {
        writer.write(command).unwrap();
    }
    let text = String::from_utf8(writer.finish().unwrap()).unwrap();
    let path =
        std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/sample_commands.csv");
    if std::env::var_os("RIALTO_WRITE_SAMPLE").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let read: Vec<_> = CommandReader::open(&path).unwrap().map(Result::unwrap).collect();
    assert_eq!(read.len(), 2_000);
    let kept = std::fs::read_to_string(&path).unwrap();
    for (index, (kept, made)) in kept.lines().zip(text.lines()).enumerate() {
        assert_eq!(kept, made, "line {} of {}", index + 1, path.display());
    }
    assert!(kept == text && read == commands);
}

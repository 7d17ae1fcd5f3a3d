use super::*;

/// Tag, price, quantity.
type Row = (u32, u32, u32);

/// Two symbols, tick 100, band 1.00 to 1,000.00.
fn books(pages: u32) -> Books {
    let spec = SymbolSpec {
        symbol: Symbol::new("A").unwrap(),
        tick: 100,
        lot: 1,
        price_min: Price(10_000),
        price_max: Price(10_000_000),
        protection: 0,
    };
    Books::new(&[spec, spec], 64, pages)
}

fn submit(
    books: &mut Books,
    side: Side,
    price: u32,
    quantity: u32,
    tag: u32,
) -> (Vec<Row>, Result<Submitted, Refused>) {
    let mut matches = Vec::new();
    let new = Submission {
        locate: Locate(1),
        side,
        price: Price(price),
        quantity: Quantity(quantity),
        tag: Urn(tag),
        rests: true,
    };
    let result = books.submit(new, |arena, m| {
        matches.push((arena.order(m.slot).urn.0, m.price.0, m.quantity.0));
    });
    books.check();
    (matches, result)
}

fn tags(books: &Books, side: Side) -> Vec<Row> {
    books.orders(Locate(1), side).map(|o| (o.urn.0, o.price.0, o.open.0)).collect()
}

#[test]
fn best_price_first_then_oldest_at_the_resting_price() {
    let mut b = books(16);
    submit(&mut b, Side::Sell, 20_200, 10, 1).1.unwrap();
    submit(&mut b, Side::Sell, 20_100, 10, 2).1.unwrap();
    submit(&mut b, Side::Sell, 20_100, 10, 3).1.unwrap();
    let (matches, result) = submit(&mut b, Side::Buy, 20_200, 25, 4);
    assert_eq!(matches, [(2, 20_100, 10), (3, 20_100, 10), (1, 20_200, 5)]);
    assert_eq!(result, Ok(Submitted { resting: None, left: Quantity(0) }));
    assert_eq!(tags(&b, Side::Sell), [(1, 20_200, 5)]);
    let (matches, result) = submit(&mut b, Side::Buy, 20_300, 7, 5);
    assert_eq!(matches, [(1, 20_200, 5)]);
    assert_eq!(result.unwrap().left, Quantity(2));
    assert_eq!(tags(&b, Side::Buy), [(5, 20_300, 2)]);
    assert_eq!(b.book(Locate(1)).unwrap().best(Side::Buy), Some((Price(20_300), 2)));
    assert_eq!(b.book(Locate(1)).unwrap().best(Side::Sell), None);
}

#[test]
fn cancel_reduce_and_replace() {
    let mut b = books(16);
    let slots: Vec<u32> = (1..=4)
        .map(|tag| submit(&mut b, Side::Buy, 20_000, 10, tag).1.unwrap().resting.unwrap())
        .collect();
    assert!(b.cancel(slots[1]));
    b.check();
    assert!(!b.cancel(slots[1]), "a slot that holds no order");
    assert!(!b.cancel(1_000_000));
    b.reduce(slots[0], Quantity(4));
    b.check();
    let moved = b.replace(slots[2], Price(20_000), Quantity(3), |_, _| {}).unwrap();
    b.check();
    assert_eq!(moved.resting, Some(slots[2]), "the freed slot comes first");
    assert_eq!(tags(&b, Side::Buy), [(1, 20_000, 6), (4, 20_000, 10), (3, 20_000, 3)]);
    assert_eq!(b.levels(Locate(1), Side::Buy).next().unwrap().count, 3);
}

#[test]
fn views_list_price_and_queue_order() {
    let mut b = books(16);
    for (i, (side, price)) in [
        (Side::Buy, 100_000),
        (Side::Buy, 20_000),
        (Side::Buy, 300_000),
        (Side::Buy, 20_000),
        (Side::Sell, 900_000),
        (Side::Sell, 310_000),
        (Side::Sell, 9_000_000),
    ]
    .into_iter()
    .enumerate()
    {
        submit(&mut b, side, price, 1, i as u32).1.unwrap();
    }
    let prices = |side| b.levels(Locate(1), side).map(|l| (l.price.0, l.count)).collect::<Vec<_>>();
    assert_eq!(prices(Side::Buy), [(300_000, 1), (100_000, 1), (20_000, 2)]);
    assert_eq!(prices(Side::Sell), [(310_000, 1), (900_000, 1), (9_000_000, 1)]);
    let order: Vec<_> = b.resting().iter().map(|o| o.urn.0).collect();
    assert_eq!(order, [1, 3, 0, 2, 5, 4, 6]);
    assert_eq!(b.levels(Locate(0), Side::Buy).count(), 0);
    assert_eq!(b.orders(Locate(3), Side::Buy).count(), 0);
}

#[test]
fn bad_terms_and_full_tables_are_refused() {
    let mut b = books(1);
    let rows = [
        (20_050, 1, Refused::Terms),     // off the tick
        (9_900, 1, Refused::Terms),      // below the band
        (10_000_100, 1, Refused::Terms), // above the band
        (u32::MAX, 1, Refused::Terms),
        (20_000, 0, Refused::Terms),
    ];
    for (price, quantity, refused) in rows {
        assert_eq!(submit(&mut b, Side::Buy, price, quantity, 1).1, Err(refused), "{price}");
    }
    submit(&mut b, Side::Buy, 20_000, 1, 1).1.unwrap();
    assert_eq!(submit(&mut b, Side::Buy, 200_000, 1, 2).1, Err(Refused::Full), "one page only");
    for tag in 2..=64 {
        submit(&mut b, Side::Buy, 20_000, 1, tag).1.unwrap();
    }
    assert_eq!(submit(&mut b, Side::Buy, 20_000, 1, 65).1, Err(Refused::Full));
}

#[test]
fn far_prices_leave_the_last_pages_to_near_ones() {
    // Pages of 51,200: 24 in the pool, of a band of 196.
    let mut b = books(24);
    let page = |n: u32| n * 51_200;
    submit(&mut b, Side::Buy, page(100), 1, 1).1.unwrap();
    for i in 0..15 {
        submit(&mut b, Side::Buy, page(10 + i), 1, 2).1.unwrap();
    }
    // 16 in use, 8 left.
    assert_eq!(submit(&mut b, Side::Buy, page(50), 1, 3).1, Err(Refused::Full));
    assert_eq!(submit(&mut b, Side::Buy, page(97), 1, 3).1, Err(Refused::Full));
    submit(&mut b, Side::Buy, page(98), 1, 4).1.unwrap();
    submit(&mut b, Side::Sell, page(102), 1, 5).1.unwrap();
    submit(&mut b, Side::Sell, page(104), 1, 6).1.unwrap();
    // A page in use takes far prices for ever.
    submit(&mut b, Side::Buy, page(10) + 100, 1, 7).1.unwrap();
}

#[test]
fn a_walking_market_never_runs_out_of_pages() {
    let mut b = books(17);
    let mut live = std::collections::VecDeque::new();
    for step in 0..3_000u32 {
        let price = 20_000 + step * 3_300;
        live.push_back(submit(&mut b, Side::Buy, price, 1, step).1.unwrap().resting.unwrap());
        if live.len() > 40 {
            assert!(b.cancel(live.pop_front().unwrap()));
        }
    }
    assert_eq!(b.open_orders(), 40);
}

#[test]
fn available_counts_pages_and_levels_up_to_the_limit() {
    let mut b = books(64);
    for (price, quantity) in [(20_000, 5), (20_100, 5), (60_000, 10), (200_000, 100), (500_000, 7)]
    {
        submit(&mut b, Side::Sell, price, quantity, 1).1.unwrap();
    }
    let book = b.book(Locate(1)).unwrap();
    let rows = [
        (19_900, 1, false),
        (20_000, 5, true),
        (20_000, 6, false),
        (20_100, 10, true),
        (59_900, 11, false),
        (60_000, 20, true),
        (60_000, 21, false),
        (300_000, 120, true),
        (300_000, 121, false),
        (500_000, 127, true),
        (10_000_000, 128, false),
    ];
    for (price, quantity, want) in rows {
        assert_eq!(
            book.available(Side::Buy, price / 100, Quantity(quantity)),
            want,
            "{price} {quantity}"
        );
    }
    assert!(!book.available(Side::Sell, 1, Quantity(1)));
}

#[test]
fn the_widest_band_has_a_place_for_its_ends() {
    let spec = SymbolSpec {
        symbol: Symbol::new("WIDE").unwrap(),
        tick: 50,
        lot: 1,
        price_min: Price(50),
        price_max: Price(50 << 25),
        protection: 0,
    };
    let mut b = Books::new(&[spec], 4, 2);
    submit(&mut b, Side::Buy, 50, 1, 1).1.unwrap();
    submit(&mut b, Side::Sell, 50 << 25, 1, 2).1.unwrap();
    assert_eq!(b.book(Locate(1)).unwrap().best(Side::Sell), Some((Price(50 << 25), 1)));
}

//! Order flow: what a broker of the simulation wants next.
//!
//! Consumes dice, the plan's features and the broker's own live orders; produces one wish at a time.
//! Prices are hot: most orders lie within a few ticks of one price, so that most of them meet. Must not
//! know how a wish is sent.

use crate::broker::{NewOrder, OwnOrder, ReplaceOrder, TimeInForce};
use crate::config::Config;
use crate::exchange::genesis::SymbolSpec;
use crate::sim::Dice;
use crate::sim::plan::{Feature, Plan};
use crate::types::*;

/// The price that everything turns around: 10.00.
const CENTRE: u32 = 100_000;

/// What a broker wants.
#[derive(Clone, Copy, Debug)]
pub enum Wish {
    /// A new order.
    Enter(NewOrder),
    /// Another price or quantity.
    Replace(ReplaceOrder),
    /// Fewer shares.
    Cancel(Urn, Quantity),
    /// The next reference.
    Query,
}

/// A broker's taste.
pub struct Flow {
    symbols: Vec<SymbolSpec>,
    /// Of its firm.
    own_accounts: Vec<AccountName>,
    /// Of another firm, or nobody's.
    foreign_account: AccountName,
    plan: Plan,
}

impl Flow {
    /// The flow of session `slot`.
    pub fn new(plan: &Plan, config: &Config, slot: usize) -> Flow {
        let firm = config.sessions[slot].spec.firm;
        let (own, foreign): (Vec<_>, Vec<_>) = config.accounts.iter().partition(|a| a.firm == firm);
        Flow {
            symbols: config.symbols.clone(),
            own_accounts: own.iter().map(|account| account.name).collect(),
            foreign_account: foreign.first().map_or(Alpha(*b"ZZZZ"), |account| account.name),
            plan: plan.clone(),
        }
    }

    fn has(&self, feature: Feature) -> bool {
        self.plan.has(feature)
    }

    /// The next wish.
    pub fn wish(&self, dice: &mut Dice, own: &[OwnOrder]) -> Wish {
        let roll = dice.below(100);
        let order = (!own.is_empty()).then(|| dice.pick(own));
        match order {
            _ if roll < 3 && self.has(Feature::Query) => Wish::Query,
            Some(order) if roll < 20 && self.has(Feature::Cancel) => {
                let total = match dice.below(4) {
                    0 => order.executed.0 + order.open.0 / 2,
                    1 => order.executed.0 + order.open.0.saturating_sub(1),
                    2 if order.executed.0 > 0 => order.executed.0 - 1,
                    _ => 0,
                };
                Wish::Cancel(order.urn, Quantity(total))
            }
            // Superfluous: of an order that is gone, or was never there.
            _ if roll < 22 && self.has(Feature::Cancel) => {
                Wish::Cancel(Urn(dice.between(1, 400) as u32), Quantity(0))
            }
            Some(order) if roll < 38 && self.has(Feature::Replace) => self.replace(dice, &order),
            _ => Wish::Enter(self.order(dice)),
        }
    }

    /// An order that rests far from the others, for a session that hoards them.
    pub fn far(&self, dice: &mut Dice) -> NewOrder {
        let spec = dice.pick(&self.symbols);
        let side = if dice.percent(50) { Side::Buy } else { Side::Sell };
        let away = dice.between(20, 60) as u32 * spec.tick;
        let centre = CENTRE / spec.tick * spec.tick;
        let price = if side == Side::Buy { centre - away } else { centre + away };
        NewOrder::limit(side, spec.symbol, Quantity(spec.lot), Price(price))
    }

    fn price(&self, dice: &mut Dice, spec: &SymbolSpec) -> Price {
        let centre = CENTRE / spec.tick;
        let reach = if dice.percent(90) { 4 } else { 4_000.min(centre as u64 - 1) };
        let level = centre as u64 - reach + dice.below(2 * reach + 1);
        Price((level as u32 * spec.tick).clamp(spec.price_min.0, spec.price_max.0))
    }

    fn quantity(&self, dice: &mut Dice, spec: &SymbolSpec) -> Quantity {
        let lots = if dice.percent(80) { dice.between(1, 12) } else { dice.between(10, 200) };
        Quantity(spec.lot * lots as u32)
    }

    fn order(&self, dice: &mut Dice) -> NewOrder {
        let spec = dice.pick(&self.symbols);
        let side = if dice.percent(50) { Side::Buy } else { Side::Sell };
        let (quantity, price) = (self.quantity(dice, &spec), self.price(dice, &spec));
        let mut order = NewOrder::limit(side, spec.symbol, quantity, price);
        order.capacity = dice.pick(b"APRO");
        let text = format!("C{}", dice.below(1_000_000));
        order.cl_ord_id = ClOrdId::new(&text).unwrap_or_default();
        if dice.percent(30) {
            order.account = Some(dice.pick(&self.own_accounts));
        }
        if dice.percent(15) && self.has(Feature::Ioc) {
            order.tif = TimeInForce::Immediate;
        }
        if dice.percent(8) && self.has(Feature::Market) {
            (order.tif, order.price) = (TimeInForce::Immediate, Price::MARKET);
        }
        if dice.percent(10) && self.has(Feature::MinQuantity) {
            order.tif = TimeInForce::Immediate;
            order.min_quantity = Some(quantity);
            if dice.percent(15) {
                order.min_quantity = Some(Quantity(quantity.0 / 2 + 1));
            }
        }
        if dice.percent(8) && self.has(Feature::Overdraft) {
            order.quantity = Quantity(spec.lot * dice.between(300, 9_000) as u32);
        }
        if dice.percent(8) && self.has(Feature::BadOrders) {
            self.spoil(dice, &spec, &mut order);
        }
        order
    }

    /// Makes it an order that must be refused.
    fn spoil(&self, dice: &mut Dice, spec: &SymbolSpec, order: &mut NewOrder) {
        match dice.below(9) {
            0 => order.symbol = Symbol::new("NOBODY").unwrap_or_default(),
            1 => order.price = Price(0),
            2 => order.price = Price(order.price.0 + spec.tick / 2 + 1),
            3 => order.price = Price(spec.price_max.0.saturating_add(spec.tick)),
            4 => order.quantity = Quantity(dice.pick(&[0, 1_000_000, 4_000_000_000])),
            5 => order.quantity = Quantity(order.quantity.0 + 1),
            6 => order.account = Some(self.foreign_account),
            7 => order.capacity = b'X',
            _ => (order.tif, order.price) = (TimeInForce::Day, Price::MARKET),
        }
    }

    fn replace(&self, dice: &mut Dice, order: &OwnOrder) -> Wish {
        let spec = self.symbols.iter().find(|s| s.symbol == order.symbol).copied();
        let spec = spec.unwrap_or(self.symbols[0]);
        let open = match dice.below(6) {
            0 => order.open.0,
            1 if self.has(Feature::BadOrders) => 0,
            _ => self.quantity(dice, &spec).0,
        };
        let total = Quantity(order.executed.0 + open);
        let mut replace = ReplaceOrder::new(order.urn, total, self.price(dice, &spec));
        if dice.percent(10) && self.has(Feature::Ioc) {
            replace.tif = TimeInForce::Immediate;
        }
        if dice.percent(5) && self.has(Feature::BadOrders) {
            replace.price = Price(0);
        }
        Wish::Replace(replace)
    }
}

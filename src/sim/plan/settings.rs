//! Settings: sizes of a seed's venue, and its configuration as text.

use super::{Feature, Features, MS, NetworkFaults, ORDERS_MIN, Plan, Reduction};
use crate::config::{AgentName, Durability};
use crate::sim::{Dice, GATEWAY, GATEWAY_KEY, GROUP_A, GROUP_B, REPAIR, key, user};
use std::fmt::Write;

/// 2025-01-02 00:00 UTC. A run is on this day or one of the next, up to 2029-01-01: a leap day, and years
/// that end, among them.
const FIRST_DAY: u64 = 1_735_776_000_000_000_000;
const DAYS: u64 = 1_460;
const DAY_NS: u64 = 86_400_000_000_000;

/// A run begins so long after midnight, 09:30, or 3 s before.
const START: u64 = 34_200_000_000_000;

/// Who may void commands, and the bytes of their keys.
const OPERATORS: [(&str, u8); 2] = [("ANNA", 0xA0), ("BERT", 0xB0)];

pub(super) fn draw(seed: u64, features: Features) -> Plan {
    let mut dice = Dice::new(seed, "settings");
    let on = |feature| features.has(feature);
    // Each line draws the same number of times whatever is on.
    let (small_orders, orders_max) = (dice.between(40, 200), dice.between(2_000, 5_000));
    let (few_pages, pages) = (dice.between(4, 6), dice.between(8, 32));
    let (small_kib, kib) = (dice.pick(&[8u64, 12, 16, 32]), dice.pick(&[64u64, 128, 256]));
    let (few_segments, segments) = (dice.between(6, 12), dice.between(6, 16));
    let (slow, fast) = (dice.between(100, 400), dice.between(1_000, 20_000));
    let small = |small, usual, feature| if on(feature) { small } else { usual };
    let burst = on(Feature::Burst);
    let rate = if burst { (slow, slow / 4) } else { (fast, fast) };
    // A minute ends while everybody logs in and trades.
    let late = Dice::new(seed, "start").percent(50);
    let day = FIRST_DAY + Dice::new(seed, "calendar").between(0, DAYS) * DAY_NS;
    Plan {
        seed,
        reduction: Reduction::default(),
        features,
        durability: if on(Feature::Disk) { Durability::Disk } else { Durability::Memory },
        brokers: dice.between(2, 5) as usize,
        subscribers: dice.between(1, 3) as usize,
        hostile: on(Feature::Hostile) as usize,
        symbols: dice.between(1, 4) as usize,
        orders_max: small(small_orders, orders_max, Feature::SmallTables) as u32,
        price_pages_max: small(few_pages, pages, Feature::SmallTables) as u32,
        segment_bytes: small(small_kib, kib, Feature::SmallSegments) << 10,
        hot_segments_max: small(few_segments, segments, Feature::SmallSegments) as usize,
        // As few as there may be: older ones come out of the log.
        reports_kept: Dice::new(seed, "reports").pick(&[512, 4_096]),
        rate: (rate.0 as u32, rate.1 as u32),
        orders: dice.between(ORDERS_MIN, 1_500),
        start: day + START - if late { 3_000 * MS } else { 0 },
        run_ns: dice.between(6_000, 15_000) * MS,
        idle_ns: dice.between(MS / 4, MS),
        threads: threads(&mut dice, on(Feature::SpreadThreads)),
        network: NetworkFaults::default(),
        incidents: Vec::new(),
    }
}

/// The default placement, or each agent on a thread chosen at random; the archiver has its own.
fn threads(dice: &mut Dice, spread: bool) -> Vec<Vec<usize>> {
    let last = AgentName::ALL.len() - 1;
    let count = dice.between(1, last as u64);
    let mut threads = vec![Vec::new(); count as usize];
    for agent in 0..last {
        threads[dice.below(count) as usize].push(agent);
    }
    for thread in &mut threads {
        dice.shuffle(thread);
    }
    if !spread {
        threads = vec![(0..6).collect(), (6..last).collect()];
    }
    threads.retain(|t| !t.is_empty());
    threads.push(vec![last]);
    threads
}

/// The configuration as `rialto.toml` would say it. Sizes that the file cannot say (segments below
/// 1 MiB) are set afterwards by the world. `incarnation` is what the operator wrote last.
pub fn config_text(plan: &Plan, incarnation: u8) -> String {
    let mut text = String::new();
    let mut dice = Dice::new(plan.seed, "accounts");
    let mut quantities = Dice::new(plan.seed, "quantities");
    let disk = plan.durability == Durability::Disk;
    let durability = if disk { "disk" } else { "memory" };
    let trial = dice.between(3, 8);
    let open = match (plan.has(Feature::Roll), plan.has(Feature::Schedule)) {
        (true, _) => {
            // Long enough to be told the end every second; in a few, until the feed has said its own for 30 s.
            let linger = Dice::new(plan.seed, "linger")
                .pick(&[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 5, 5, 35]);
            format!("open = \"immediate\"\ntrial_day_seconds = {trial}\nlinger_seconds = {linger}")
        }
        // Two seconds after the start.
        (false, true) => {
            let (open, sooner) =
                if plan.start % DAY_NS == START { ("09:30:02", 0) } else { ("09:29:59", 3) };
            let mut dice = Dice::new(plan.seed, "close");
            let second = dice.between(6, 14) - sooner;
            let close =
                if dice.percent(50) { format!("09:30:{second:02}") } else { "22:00:00".into() };
            format!("open = \"{open}\"\nclose = \"{close}\"")
        }
        (false, false) => "open = \"immediate\"".into(),
    };
    let _ = write!(
        text,
        "[venue]\nname = \"RIALTO\"\ndata = \"/data\"\nhot = \"{}\"\ndegraded = {}\n\
         durability = \"{durability}\"\nincarnation = \"{}\"\n{open}\ntest_keys = true\n\
         [capacity]\norders_max = {}\nprice_pages_max = {}\nsegment_mib = 1\n\
         hot_segments_max = {}\n[gateway]\nlisten = \"{GATEWAY}\"\nkey = \"{}\"\n\
         [feed]\ninterface = \"{}\"\na = \"{GROUP_A}\"\nb = \"{GROUP_B}\"\nrepair = \"{REPAIR}\"\n\
         repair_bytes_per_second = {}\n",
        plan.hot_dir(),
        plan.has(Feature::HotOnDisk),
        incarnation as char,
        plan.orders_max,
        plan.price_pages_max,
        plan.hot_segments_max,
        hex(&GATEWAY_KEY),
        GATEWAY.ip(),
        // An eighth of it at once is more than the least that the venue grants.
        Dice::new(plan.seed, "repair").magnitude(200_000, 10_000_000),
    );
    for (operator, byte) in OPERATORS {
        let key = hex(&[byte; 32]);
        let _ = write!(text, "[[operator]]\nname = \"{operator}\"\nkey = \"{key}\"\n");
    }
    for thread in &plan.threads {
        let names = thread.iter().map(|&i| format!("\"{}\"", AgentName::ALL[i].text()));
        let names: Vec<String> = names.collect();
        let _ = write!(text, "[[thread]]\nagents = [{}]\n", names.join(", "));
    }
    for symbol in 0..plan.symbols {
        let lot = dice.pick(&[1, 1, 1, 10, 100]);
        let tick = dice.pick(&["0.01", "0.01", "0.05", "0.0001"]);
        // Near enough, the end of the band is where a market order stops.
        let price_max = dice.pick(&["200.00", "200.00", "10.40", "3000.00"]);
        // A protection price off the tick is a limit as it stands.
        let mut own = Dice::new(plan.seed ^ (symbol as u64) << 32, "protection");
        let protection = own.pick(&["1.00", "1.00", "0.0333", "0.0007"]);
        let _ = write!(
            text,
            "[[symbol]]\nname = \"SYM{symbol}\"\nlot = {lot}\ntick = \"{tick}\"\n\
             price_max = \"{price_max}\"\nprotection = \"{protection}\"\n"
        );
    }
    let houses = Houses::draw(plan);
    let mut accounts = Vec::new();
    for slot in 0..plan.brokers {
        // Poor ones run out of cash and shares; an overdraft of the rich is an odd size.
        let poor = dice.percent(50) && plan.has(Feature::Overdraft);
        // A few are sold out within a day, or one is left over.
        let few = Dice::new(plan.seed ^ (slot as u64) << 32, "few").pick(&[2_000, 2_000, 40, 1]);
        let (cash, shares) = if poor { ("50000.00", few) } else { ("100000000.00", 1_000_000) };
        let limits = match dice.percent(50) && plan.has(Feature::Overdraft) {
            true => {
                let day = dice.pick(&[5_000, 20_000, 100_000]);
                let quantity = quantities.pick(&[5_000, 5_000, 1, 300, 99_999, 999_999]);
                format!(
                    "order_quantity_max = {quantity}\norder_notional_max = \"100000.00\"\n\
                     day_shares_max = {day}\n"
                )
            }
            false => String::new(),
        };
        let account = format!(
            "[[account]]\nname = \"A{slot:02}\"\nfirm = \"F{:02}\"\ncash = \"{cash}\"\n\
             shares = {shares}\n{limits}",
            houses.firms[slot]
        );
        accounts.push(account);
    }
    for &firm in &houses.second_accounts {
        let (cash, shares) = houses.second_opening;
        accounts.push(format!(
            "[[account]]\nname = \"B{firm:02}\"\nfirm = \"F{firm:02}\"\ncash = \"{cash}\"\n\
             shares = {shares}\n"
        ));
    }
    houses.firm_order.iter().for_each(|firm| {
        let _ = write!(text, "[[firm]]\nname = \"F{firm:02}\"\n");
    });
    let mut dice = Dice::new(plan.seed, "order of accounts");
    dice.shuffle(&mut accounts);
    text.extend(accounts);
    for slot in 0..plan.brokers {
        let _ = write!(
            text,
            "[[session]]\nuser = \"{}\"\nfirm = \"F{:02}\"\naccount = \"A{:02}\"\n\
             allow = [\"10.1.0.0/16\"]\nkey = \"{}\"\nrate = {}\nburst = {}\n",
            user(slot).text(),
            houses.firms[slot],
            houses.accounts[slot],
            hex(&key(slot)),
            plan.rate.0,
            plan.rate.1.max(1),
        );
    }
    text
}

/// Who trades for whom: firms of one session or several, which may share an account, and firms of two
/// accounts. Firms and accounts stand in the configuration in an order of their own, so that none has the
/// number of its session.
struct Houses {
    /// Firm of each session, and of the account that bears its number.
    firms: Vec<usize>,
    /// Each session's own account.
    accounts: Vec<usize>,
    /// Firms in the order of the configuration.
    firm_order: Vec<usize>,
    /// Firms with a second account.
    second_accounts: Vec<usize>,
    /// Cash and shares of those.
    second_opening: (&'static str, u64),
}

impl Houses {
    fn draw(plan: &Plan) -> Houses {
        let mut dice = Dice::new(plan.seed, "houses");
        let (mut firms, mut accounts): (Vec<usize>, Vec<usize>) = Default::default();
        for slot in 0..plan.brokers {
            let other = dice.below(slot.max(1) as u64) as usize;
            let joins = slot > 0 && dice.percent(25);
            firms.push(if joins { firms[other] } else { slot });
            accounts.push(if joins && dice.percent(50) { accounts[other] } else { slot });
        }
        let mut firm_order: Vec<usize> = firms.clone();
        firm_order.sort();
        firm_order.dedup();
        let second_accounts = firm_order.iter().copied().filter(|_| dice.percent(40)).collect();
        dice.shuffle(&mut firm_order);
        let poor = dice.percent(50) && plan.has(Feature::Overdraft);
        let second_opening = if poor { ("50000.00", 40) } else { ("100000000.00", 1_000_000) };
        Houses { firms, accounts, firm_order, second_accounts, second_opening }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;
    use std::path::Path;

    #[test]
    fn every_seed_has_a_configuration_without_faults() {
        for seed in 0..300 {
            let plan = Plan::draw(seed, Reduction::default());
            let text = config_text(&plan, b'A');
            if let Err(error) = Config::parse(Path::new("/sim/rialto.toml"), &text) {
                panic!("seed {seed}: {error}");
            }
        }
    }
}

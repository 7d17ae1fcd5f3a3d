//! The calendar: which day a venue opens now, or when it opens the next one.
//!
//! Consumes the configured hours, the time and the data directory; produces a [`DayPlan`] or a time
//! to wait for. A trading day is a date in the venue's zone on which the venue runs: there are no
//! weekends or holidays here. Must not know logs beyond "begun" and "over".

use super::StartError;
use crate::config::{Config, DayEnd, date_days, date_text};
use crate::store::{FoundDay, Storage, newest_days};
use crate::types::*;

/// What a venue does now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Next {
    /// Opens this day: begins it, or goes on with it.
    Open(DayPlan),
    /// Waits for the next day to begin.
    Wait {
        /// When.
        until: Nanos,
        /// It.
        plan: DayPlan,
    },
}

/// A day to open.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DayPlan {
    /// Its date, days since 1970-01-01.
    pub days: u64,
    /// Incarnation of its names.
    pub incarnation: u8,
    /// The ended day that it carries from; counts only while it is not begun.
    pub from: Option<FoundDay>,
    /// Its date has passed: it is opened to be ended.
    pub overdue: bool,
}

impl DayPlan {
    /// Name of its directory.
    pub fn name(&self) -> String {
        match self.incarnation {
            b'A' => date_text(self.days),
            letter => format!("{}-{}", date_text(self.days), letter as char),
        }
    }

    /// The same once more under the configured names, when the day cannot be opened because memory was
    /// lost and the operator agreed.
    pub(super) fn anew(self, config: &Config, now: Nanos) -> DayPlan {
        DayPlan {
            days: self.days.max(config.trading_day(now).0),
            incarnation: config.incarnation,
            overdue: false,
            ..self
        }
    }
}

/// The next step at `now`. A day that is not over comes first, whatever its date; then the day after
/// the last one.
pub fn next_day(config: &Config, storage: &dyn Storage, now: Nanos) -> Result<Next, StartError> {
    let (today, _) = config.trading_day(now);
    let (newest, ended) = newest_days(storage, &config.data)?;
    let open =
        |days, incarnation, overdue| DayPlan { days, incarnation, from: ended.clone(), overdue };
    let Some(last) = newest else {
        return Ok(by_the_hours(config, now, open(today, config.incarnation, false)));
    };
    let (days, incarnation) = parse(&last.date);
    if last.ended.is_none() {
        let trial = matches!(config.day.end, DayEnd::After(_));
        return Ok(Next::Open(open(days, incarnation, days < today && !trial)));
    }
    Ok(by_the_hours(config, now, open(today.max(days + 1), b'A', false)))
}

/// Opens a new day within its hours only.
fn by_the_hours(config: &Config, now: Nanos, mut plan: DayPlan) -> Next {
    let at = |days, seconds: u32| config.midnight(days).plus(seconds as u64 * 1_000_000_000);
    match config.day.end {
        DayEnd::After(_) => return Next::Open(plan),
        DayEnd::At(end) if now >= at(plan.days, end) => plan.days += 1,
        _ => {}
    }
    let until = at(plan.days, config.day.begin);
    if now >= until { Next::Open(plan) } else { Next::Wait { until, plan } }
}

/// Date and incarnation of a day's directory.
fn parse(name: &str) -> (u64, u8) {
    let (date, again) = name.split_at_checked(10).unwrap_or((name, ""));
    (date_days(date).unwrap_or(0), again.as_bytes().get(1).copied().unwrap_or(b'A'))
}

//! Rows of the doctor's report.

use crate::host::hiccup::Hiccups;
use serde::Serialize;

/// How a row stands.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// As wanted.
    Ok,
    /// Not so here, or it could not be read: [`Row::why`] says which.
    NotApplicable,
    /// Slower, or with more jitter.
    Warn,
    /// No start, or a promise of the configuration is broken.
    Fail,
}

/// One demand and what the host says to it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// Group that it stands in.
    pub group: &'static str,
    /// What is looked at.
    pub name: String,
    /// How it stands.
    pub state: State,
    /// Value found; for [`State::NotApplicable`] the reason why there is none.
    pub seen: String,
    /// Value wanted.
    pub wanted: String,
    /// What it does to the venue.
    pub why: String,
    /// Command or step that mends it.
    pub mend: String,
}

/// What the doctor found.
#[derive(Clone, Default, Debug, Serialize)]
pub struct Report {
    /// All rows, in their groups.
    pub rows: Vec<Row>,
    /// Gaps of each application CPU, when they were measured.
    pub hiccups: Vec<Hiccups>,
}

impl Report {
    pub(super) fn group(&mut self, group: &'static str, rows: Vec<Row>) {
        self.rows.extend(rows.into_iter().map(|row| Row { group, ..row }));
    }

    /// Rows in a state.
    pub fn count(&self, state: State) -> usize {
        self.rows.iter().filter(|row| row.state == state).count()
    }
}

/// A demand before its answer is known.
pub(super) struct Ask(Row);

/// Looks at `name`, of which `wanted` is wanted because `why`; `mend` is what brings it there.
pub(super) fn ask(
    name: impl Into<String>,
    wanted: impl Into<String>,
    why: impl Into<String>,
    mend: impl Into<String>,
) -> Ask {
    Ask(Row {
        group: "",
        name: name.into(),
        state: State::Ok,
        seen: String::new(),
        wanted: wanted.into(),
        why: why.into(),
        mend: mend.into(),
    })
}

impl Ask {
    pub(super) fn ok(self, seen: impl Into<String>) -> Row {
        Row { seen: seen.into(), ..self.0 }
    }

    pub(super) fn warn(self, seen: impl Into<String>) -> Row {
        Row { state: State::Warn, seen: seen.into(), ..self.0 }
    }

    pub(super) fn fail(self, seen: impl Into<String>) -> Row {
        Row { state: State::Fail, seen: seen.into(), ..self.0 }
    }

    /// There is nothing to judge, because `reason`.
    pub(super) fn none(self, reason: impl Into<String>) -> Row {
        Row { state: State::NotApplicable, seen: reason.into(), ..self.0 }
    }

    pub(super) fn warn_unless(self, good: bool, seen: impl Into<String>) -> Row {
        if good { self.ok(seen) } else { self.warn(seen) }
    }

    pub(super) fn fail_unless(self, good: bool, seen: impl Into<String>) -> Row {
        if good { self.ok(seen) } else { self.fail(seen) }
    }

    /// `Err` = it could not be read.
    pub(super) fn warn_unless_read<E: std::fmt::Display>(
        self,
        seen: Result<(bool, String), E>,
    ) -> Row {
        match seen {
            Ok((good, seen)) => self.warn_unless(good, seen),
            Err(reason) => self.none(reason.to_string()),
        }
    }
}

/// The command that applies a stage.
pub(super) fn stage(name: &str) -> String {
    format!("rialto configure init --stage {name}")
}

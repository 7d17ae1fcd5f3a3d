//! Reads values out of a TOML table and collects every fault instead of stopping at the first.

use crate::types::Alpha;
use std::fmt::Display;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::str::FromStr;
use toml::{Table, Value};

/// One fault: which key, what it says, what is allowed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Dotted key, with an index for arrays: `session[2].user`.
    pub key: String,
    /// Value found; `None` when missing or secret.
    pub value: Option<String>,
    /// What is allowed, as a sentence.
    pub allowed: String,
}

impl Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{} = {value}: {}", self.key, self.allowed),
            None => write!(f, "{}: {}", self.key, self.allowed),
        }
    }
}

/// One table of the text; takes keys out of it, so that what is left is unknown.
pub(super) struct Section {
    path: String,
    table: Table,
    faults: Vec<Fault>,
    known: Vec<&'static str>,
}

impl Section {
    pub(super) fn new(path: impl Into<String>, table: Table) -> Section {
        Section { path: path.into(), table, faults: Vec::new(), known: Vec::new() }
    }

    fn key(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_string() } else { format!("{}.{key}", self.path) }
    }

    pub(super) fn fault(&mut self, key: &str, value: Option<String>, allowed: impl Into<String>) {
        let key = self.key(key);
        self.faults.push(Fault { key, value, allowed: allowed.into() });
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.table.remove(key)
    }

    /// A text that parses into `T`; `default` when absent (`None` = the key is required).
    pub(super) fn parse<T: FromStr>(
        &mut self,
        key: &'static str,
        default: Option<T>,
        allowed: &str,
    ) -> Option<T> {
        self.text_with(key, default, allowed, |t| t.parse().ok())
    }

    /// A text that `read` accepts.
    pub(super) fn text_with<T>(
        &mut self,
        key: &'static str,
        default: Option<T>,
        allowed: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        match self.take(key) {
            None if default.is_some() => default,
            None => {
                self.fault(key, None, format!("is missing; {allowed}"));
                None
            }
            Some(Value::String(text)) => {
                let value = read(&text);
                if value.is_none() {
                    self.fault(key, Some(format!("{text:?}")), allowed);
                }
                value
            }
            Some(other) => {
                self.fault(key, Some(other.to_string()), allowed);
                None
            }
        }
    }

    /// A secret: 64 hex digits; its value is never repeated.
    pub(super) fn secret(&mut self, key: &'static str, required: bool) -> Option<[u8; 32]> {
        match self.take(key) {
            None => {
                if required {
                    self.fault(key, None, "is missing; 64 hex digits (32 bytes)");
                }
                None
            }
            Some(Value::String(text)) => {
                let bytes = hex32(&text);
                if bytes.is_none() {
                    self.fault(key, None, "must be 64 hex digits (32 bytes); value not shown");
                }
                bytes
            }
            Some(_) => {
                self.fault(key, None, "must be a text of 64 hex digits; value not shown");
                None
            }
        }
    }

    pub(super) fn number(
        &mut self,
        key: &'static str,
        default: Option<u64>,
        range: RangeInclusive<u64>,
        unit: &str,
    ) -> Option<u64> {
        let allowed =
            format!("must be a whole number of {unit}, {} to {}", range.start(), range.end());
        match self.take(key) {
            None if default.is_some() => default,
            None => {
                self.fault(key, None, format!("is missing; {allowed}"));
                None
            }
            Some(Value::Integer(n)) if u64::try_from(n).is_ok_and(|n| range.contains(&n)) => {
                Some(n as u64)
            }
            Some(other) => {
                self.fault(key, Some(other.to_string()), allowed);
                None
            }
        }
    }

    pub(super) fn signed(
        &mut self,
        key: &'static str,
        default: i64,
        range: RangeInclusive<i64>,
        unit: &str,
    ) -> Option<i64> {
        match self.take(key) {
            None => Some(default),
            Some(Value::Integer(n)) if range.contains(&n) => Some(n),
            Some(other) => {
                let allowed = format!(
                    "must be a whole number of {unit}, {} to {}",
                    range.start(),
                    range.end()
                );
                self.fault(key, Some(other.to_string()), allowed);
                None
            }
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> bool {
        match self.take(key) {
            None => default,
            Some(Value::Boolean(b)) => b,
            Some(other) => {
                self.fault(key, Some(other.to_string()), "must be true or false");
                default
            }
        }
    }

    /// Money or a price as text ("12.34") or whole units, in 1/10,000.
    pub(super) fn money(
        &mut self,
        key: &'static str,
        default: Option<u64>,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let allowed = format!(
            "must be an amount in quotes with at most 4 decimals, {} to {}",
            money_text(*range.start()),
            money_text(*range.end())
        );
        let value = match self.take(key) {
            None if default.is_some() => return default,
            None => {
                self.fault(key, None, format!("is missing; {allowed}"));
                return None;
            }
            Some(value) => value,
        };
        let read = match &value {
            Value::String(text) => parse_money(text),
            Value::Integer(n) => u64::try_from(*n).ok().and_then(|n| n.checked_mul(10_000)),
            _ => None,
        };
        match read.filter(|n| range.contains(n)) {
            Some(n) => Some(n),
            None => {
                self.fault(key, Some(value.to_string()), allowed);
                None
            }
        }
    }

    pub(super) fn alpha<const N: usize>(
        &mut self,
        key: &'static str,
        default: Option<Alpha<N>>,
        what: &str,
    ) -> Option<Alpha<N>> {
        let allowed = format!("must be {what}: 1 to {N} of A-Z and 0-9");
        self.text_with(key, default, &allowed, name)
    }

    pub(super) fn address(
        &mut self,
        key: &'static str,
        default: Option<SocketAddrV4>,
    ) -> Option<SocketAddrV4> {
        self.parse(key, default, "must be an IPv4 address and port such as \"127.0.0.1:9001\"")
    }

    pub(super) fn group(&mut self, key: &'static str) -> Option<SocketAddrV4> {
        let allowed = "must be a multicast group and port such as \"239.192.0.1:9101\"";
        self.text_with(key, None, allowed, |t| {
            t.parse::<SocketAddrV4>().ok().filter(|a| a.ip().is_multicast() && a.port() != 0)
        })
    }

    /// Networks as (address, prefix length); at least one.
    pub(super) fn networks(&mut self, key: &'static str) -> Vec<(Ipv4Addr, u8)> {
        let allowed = "must be a list of IPv4 addresses or networks such as [\"10.0.0.7\", \
                       \"10.1.0.0/16\"]; [\"0.0.0.0/0\"] = any";
        let mut out = Vec::new();
        match self.take(key) {
            Some(Value::Array(items)) if !items.is_empty() => {
                for item in items {
                    match item.as_str().and_then(network) {
                        Some(network) => out.push(network),
                        None => self.fault(key, Some(item.to_string()), allowed),
                    }
                }
            }
            None => self.fault(key, None, format!("is missing; {allowed}")),
            Some(other) => self.fault(key, Some(other.to_string()), allowed),
        }
        out
    }

    pub(super) fn texts(&mut self, key: &'static str, allowed: &str) -> Vec<String> {
        let mut out = Vec::new();
        match self.take(key) {
            Some(Value::Array(items)) => {
                for item in items {
                    match item.as_str() {
                        Some(text) => out.push(text.to_string()),
                        None => self.fault(key, Some(item.to_string()), allowed),
                    }
                }
            }
            Some(other) => self.fault(key, Some(other.to_string()), allowed),
            None => self.fault(key, None, format!("is missing; {allowed}")),
        }
        out
    }

    /// A sub-table as a list of (key, value).
    pub(super) fn pairs(&mut self, key: &'static str) -> Vec<(String, Value)> {
        match self.take(key) {
            None => Vec::new(),
            Some(Value::Table(t)) => t.into_iter().collect(),
            Some(other) => {
                self.fault(key, Some(other.to_string()), "must be a table { NAME = value }");
                Vec::new()
            }
        }
    }

    /// A sub-table; empty when absent.
    pub(super) fn table(&mut self, key: &'static str) -> Table {
        match self.take(key) {
            None => Table::new(),
            Some(Value::Table(t)) => t,
            Some(other) => {
                let value = Some(other.type_str().to_string());
                self.fault(key, value, format!("must be a table [{key}]"));
                Table::new()
            }
        }
    }

    /// An array of tables `[[key]]`.
    pub(super) fn tables(&mut self, key: &'static str) -> Vec<Table> {
        let allowed = format!("must be tables [[{key}]]");
        let mut out = Vec::new();
        match self.take(key) {
            None => {}
            Some(Value::Array(items)) => {
                for item in items {
                    match item {
                        Value::Table(t) => out.push(t),
                        other => self.fault(key, Some(other.to_string()), allowed.clone()),
                    }
                }
            }
            Some(other) => self.fault(key, Some(other.type_str().to_string()), allowed),
        }
        out
    }

    /// Hands over the faults, with one for every key that nobody asked for.
    pub(super) fn finish(mut self, faults: &mut Vec<Fault>) {
        let left: Vec<String> = self.table.keys().cloned().collect();
        let known = self.known.join(", ");
        for key in left {
            self.fault(&key, None, format!("is not a key here; known are: {known}"));
        }
        faults.append(&mut self.faults);
    }
}

fn network(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
    let prefix = prefix.parse().ok().filter(|&p| p <= 32)?;
    Some((address.parse().ok()?, prefix))
}

/// A left-justified name of A-Z and 0-9.
pub(super) fn name<const N: usize>(text: &str) -> Option<Alpha<N>> {
    let ok = !text.is_empty()
        && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
        && text.len() <= N;
    if ok { Alpha::new(text) } else { None }
}

/// "12.34" -> 123,400 (units of 1/10,000). No floating point; `None` beyond four decimals or u64.
pub fn parse_money(text: &str) -> Option<u64> {
    let text = text.replace('_', "");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    if whole.is_empty() || fraction.len() > 4 || text.ends_with('.') {
        return None;
    }
    if !whole.bytes().chain(fraction.bytes()).all(|b| b.is_ascii_digit()) {
        return None;
    }
    let mut out = whole.parse::<u64>().ok()?.checked_mul(10_000)?;
    let mut unit = 1_000;
    for digit in fraction.bytes() {
        out = out.checked_add((digit - b'0') as u64 * unit)?;
        unit /= 10;
    }
    Some(out)
}

fn money_text(value: u64) -> String {
    format!("\"{}.{:04}\"", value / 10_000, value % 10_000)
}

fn hex32(text: &str) -> Option<[u8; 32]> {
    if text.len() != 64 || !text.is_ascii() {
        return None;
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
    }
    Some(out)
}

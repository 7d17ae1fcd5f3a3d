//! Lines and figures as people read them.

use std::fmt::Arguments;
use std::io::{ErrorKind, Write};

/// `println!` for somebody who may stop reading (`rialto demo | head`): then it prints nothing.
macro_rules! say {
    ($($text:tt)*) => { $crate::cli::text::print_line(format_args!($($text)*)) };
}
pub(in crate::cli) use say;

/// See the macro.
pub fn print_line(line: Arguments<'_>) {
    match writeln!(std::io::stdout(), "{line}") {
        Err(e) if e.kind() != ErrorKind::BrokenPipe => panic!("standard output: {e}"),
        _ => {}
    }
}

/// 1234567 -> "1,234,567".
pub fn grouped(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}

/// "1 order", "1,000 orders".
pub fn counted(n: u64, what: &str) -> String {
    format!("{} {what}{}", grouped(n), if n == 1 { "" } else { "s" })
}

/// Bytes in the largest binary unit that leaves a whole part, one decimal.
pub use rialto::host::doctor::size;

/// Price units of 1/10,000 as a decimal; two decimals when the rest is zero.
pub fn money(value: u64) -> String {
    if value.is_multiple_of(100) {
        format!("{}.{:02}", value / 10_000, value / 100 % 100)
    } else {
        format!("{}.{:04}", value / 10_000, value % 10_000)
    }
}

/// Nanoseconds after midnight -> "09:30:00.000000000".
pub fn time_of_day(ns: u64) -> String {
    let s = ns / 1_000_000_000;
    format!("{:02}:{:02}:{:02}.{:09}", s / 3_600, s / 60 % 60, s % 60, ns % 1_000_000_000)
}

/// "09:30", "09:30:00" or "09:30:00.25" -> nanoseconds after midnight.
pub fn parse_time(text: &str) -> Option<u64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let mut seconds = 0;
    let mut parts = 0;
    for part in whole.split(':') {
        seconds = seconds * 60 + part.parse::<u64>().ok().filter(|&n| n < 60)?;
        parts += 1;
    }
    if parts == 2 {
        seconds *= 60;
    }
    if !(2..=3).contains(&parts) || fraction.len() > 9 || seconds >= 86_400 {
        return None;
    }
    let fraction: u64 = format!("{fraction:0<9}").parse().ok()?;
    Some(seconds * 1_000_000_000 + fraction)
}

//! OUCH 5.0 as the crate slouch reads and writes it.
//!
//! Reports: slouch decodes our bytes and every field is compared. Orders: slouch cannot decode
//! requests, so it encodes the same order from our decoded fields and the bytes are compared.
//! slouch 0.0.3 reads only the first tag of an appendage, and takes client order ids of letters,
//! digits and blanks only.

use crate::fields::{self, Fields};
use anyhow::{Context, Result, bail};
use rialto::wire::ouch::{Inbound, Outbound, decode_inbound};
use slouch::msg::{
    AccountQuery, CancelOrder, EnterOrder, OuchRequest, OuchResponse, ReplaceOrder, TagValue,
};
use slouch::types::{
    Capacity, CrossType, Display, Mpid, OrderToken, Price, Side, StockSymbol, TimeInForce,
    UserRefNum,
};

/// What came of comparing many messages.
#[derive(Default, Debug, Clone, Copy)]
pub struct Tally {
    /// Messages compared.
    pub messages: usize,
    /// Values (reports) or bytes (orders) compared.
    pub values: usize,
    /// Messages that the witness has no words for: own N, letters or texts it refuses.
    pub skipped: usize,
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Tally { messages, values, skipped } = self;
        write!(f, "{messages} messages, {values} values equal, {skipped} beyond the witness")
    }
}

/// Ns since midnight of chrono's "hh:mm:ss.fffffffff".
fn nanos(time: &slouch::types::NaiveTime) -> Result<u64> {
    let text = time.to_string();
    let (seconds, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut total = 0u64;
    for part in seconds.split(':') {
        total = total * 60 + part.parse::<u64>()?;
    }
    let padded = format!("{fraction:0<9}");
    Ok(total * 1_000_000_000 + padded.parse::<u64>()?)
}

/// A one-byte enum of slouch as its letter.
macro_rules! letter {
    ($value:expr) => {
        fields::letter($value.encode()[0])
    };
}

fn boolean(value: bool) -> String {
    if value { "Y".into() } else { "N".into() }
}

/// The first tag of an appendage, as (number, value).
fn first_tag(options: &[TagValue]) -> Result<String> {
    Ok(match options.first() {
        None => "none".into(),
        Some(TagValue::Firm(firm)) => format!("firm {}", firm.to_str()),
        Some(TagValue::MinQty(quantity)) => format!("min {quantity}"),
        Some(other) => bail!("unexpected tag {other:?}"),
    })
}

fn our_first_tag(appendage: &rialto::wire::ouch::Appendage) -> String {
    match (appendage.account, appendage.min_quantity) {
        (Some(account), _) => format!("firm {}", account.text()),
        (None, Some(quantity)) => format!("min {quantity}"),
        (None, None) => "none".into(),
    }
}

/// A report as our decoder reads it; `None` for our own N.
pub fn ours(report: &Outbound) -> Option<Fields> {
    let mut f: Fields = vec![("timestamp", report.timestamp().to_string())];
    match report {
        Outbound::SystemEvent(m) => f.push(("S code", fields::letter(m.code))),
        Outbound::Accepted(m) => f.extend([
            ("A urn", m.urn.0.to_string()),
            ("side", fields::letter(m.side.letter())),
            ("quantity", m.quantity.0.to_string()),
            ("symbol", m.symbol.text()),
            ("price", m.price.0.to_string()),
            ("tif", fields::letter(m.tif)),
            ("display", fields::letter(m.display)),
            ("order_ref", m.order_ref.0.to_string()),
            ("capacity", fields::letter(m.capacity)),
            ("iso", fields::letter(m.iso)),
            ("cross", fields::letter(m.cross)),
            ("state", fields::letter(m.state)),
            ("cl_ord_id", m.cl_ord_id.text()),
            ("first tag", our_first_tag(&m.appendage)),
        ]),
        Outbound::Replaced(m) => f.extend([
            ("U old_urn", m.old_urn.0.to_string()),
            ("urn", m.urn.0.to_string()),
            ("side", fields::letter(m.side.letter())),
            ("quantity", m.quantity.0.to_string()),
            ("symbol", m.symbol.text()),
            ("price", m.price.0.to_string()),
            ("tif", fields::letter(m.tif)),
            ("display", fields::letter(m.display)),
            ("order_ref", m.order_ref.0.to_string()),
            ("capacity", fields::letter(m.capacity)),
            ("iso", fields::letter(m.iso)),
            ("cross", fields::letter(m.cross)),
            ("state", fields::letter(m.state)),
            ("cl_ord_id", m.cl_ord_id.text()),
            ("first tag", "none".into()),
        ]),
        Outbound::Canceled(m) => f.extend([
            ("C urn", m.urn.0.to_string()),
            ("decrement", m.decrement.0.to_string()),
            ("reason", fields::letter(m.reason)),
        ]),
        Outbound::Executed(m) => f.extend([
            ("E urn", m.urn.0.to_string()),
            ("quantity", m.quantity.0.to_string()),
            ("price", m.price.0.to_string()),
            ("liquidity", fields::letter(m.liquidity)),
            ("match_number", m.match_number.0.to_string()),
            ("first tag", "none".into()),
        ]),
        Outbound::Rejected(m) => f.extend([
            ("J urn", m.urn.0.to_string()),
            ("reason", format!("{:#06x}", m.reason)),
            ("cl_ord_id", m.cl_ord_id.text()),
        ]),
        Outbound::CancelRefused(m) => f.push(("I urn", m.urn.0.to_string())),
        Outbound::QueryResponse(m) => f.push(("Q next_urn", m.next_urn.to_string())),
        Outbound::NotApplied(_) => return None,
    }
    Some(f)
}

/// A report as slouch reads it.
pub fn by_slouch(block: &[u8]) -> Result<Fields> {
    let (_, response) = OuchResponse::parse(block)
        .map_err(|error| anyhow::anyhow!("slouch: {error:?}: {block:02x?}"))?;
    let time = |time: slouch::types::NaiveTime| -> Result<Fields> {
        Ok(vec![("timestamp", nanos(&time)?.to_string())])
    };
    let trim = |text: &str| text.trim_end_matches(' ').to_string();
    Ok(match response {
        OuchResponse::SystemEvent(m) => {
            let mut f = time(m.timestamp())?;
            f.push(("S code", letter!(m.event_code())));
            f
        }
        OuchResponse::OrderAccepted(m) => {
            let mut f = time(m.timestamp())?;
            f.extend([
                ("A urn", m.user_ref_num().val().to_string()),
                ("side", letter!(m.side())),
                ("quantity", m.quantity().to_string()),
                ("symbol", trim(m.symbol().to_str())),
                ("price", m.price().val().to_string()),
                ("tif", letter!(m.time_in_force())),
                ("display", letter!(m.display())),
                ("order_ref", m.order_ref_num().to_string()),
                ("capacity", letter!(m.capacity())),
                ("iso", boolean(m.intermarket_sweep())),
                ("cross", letter!(m.cross_type())),
                ("state", letter!(m.order_state())),
                ("cl_ord_id", trim(m.order_token().to_str())),
                ("first tag", trim(&first_tag(m.options())?)),
            ]);
            f
        }
        OuchResponse::OrderReplaced(m) => {
            let mut f = time(m.timestamp())?;
            f.extend([
                ("U old_urn", m.old_ref_num().val().to_string()),
                ("urn", m.new_ref_num().val().to_string()),
                ("side", letter!(m.side())),
                ("quantity", m.quantity().to_string()),
                ("symbol", trim(m.symbol().to_str())),
                ("price", m.price().val().to_string()),
                ("tif", letter!(m.time_in_force())),
                ("display", letter!(m.display())),
                ("order_ref", m.order_ref_num().to_string()),
                ("capacity", letter!(m.capacity())),
                ("iso", boolean(m.intermarket_sweep())),
                ("cross", letter!(m.cross_type())),
                ("state", letter!(m.order_state())),
                ("cl_ord_id", trim(m.order_token().to_str())),
                ("first tag", first_tag(m.options())?),
            ]);
            f
        }
        OuchResponse::OrderCanceled(m) => {
            let mut f = time(m.timestamp())?;
            f.extend([
                ("C urn", m.user_ref_num().val().to_string()),
                ("decrement", m.quantity().to_string()),
                ("reason", letter!(m.reason())),
            ]);
            f
        }
        OuchResponse::OrderExecuted(m) => {
            let mut f = time(m.timestamp())?;
            f.extend([
                ("E urn", m.user_ref_num().val().to_string()),
                ("quantity", m.quantity().to_string()),
                ("price", m.price().val().to_string()),
                ("liquidity", letter!(m.liquidity())),
                ("match_number", m.match_number().to_string()),
                ("first tag", first_tag(m.options())?),
            ]);
            f
        }
        OuchResponse::OrderRejected(m) => {
            let mut f = time(m.timestamp())?;
            let reason = u16::from_be_bytes(m.reason().encode());
            f.extend([
                ("J urn", m.user_ref_num().val().to_string()),
                ("reason", format!("{reason:#06x}")),
                ("cl_ord_id", trim(m.order_token().to_str())),
            ]);
            f
        }
        OuchResponse::AccountQueryResponse(m) => {
            let mut f = time(m.timestamp())?;
            f.push(("Q next_urn", m.next_user_ref_num().val().to_string()));
            f
        }
        OuchResponse::CancelRejected(m) => {
            let mut f = time(m.timestamp())?;
            f.push(("I urn", m.user_ref_num().val().to_string()));
            f
        }
        other => bail!("slouch read something else: {other:?}"),
    })
}

/// Compares one report.
pub fn compare_report(block: &[u8], tally: &mut Tally) -> Result<()> {
    let report =
        Outbound::decode(block).map_err(|error| anyhow::anyhow!("{error:?}: {block:02x?}"))?;
    let Some(ours) = ours(&report) else {
        tally.skipped += 1;
        return Ok(());
    };
    let theirs = by_slouch(block)?;
    if let Some(difference) = fields::difference(&ours, &theirs) {
        bail!("report {block:02x?}: {difference}");
    }
    tally.messages += 1;
    tally.values += ours.len();
    Ok(())
}

fn urn(urn: rialto::types::Urn) -> Result<UserRefNum> {
    let bytes = urn.0.to_be_bytes();
    let (_, urn) = UserRefNum::parse(&bytes).ok().context("urn")?;
    Ok(urn)
}

/// A one-byte enum of slouch from its letter; `None` when it has none such.
macro_rules! from_letter {
    ($ty:ident, $letter:expr) => {
        $ty::parse(&[$letter]).ok().map(|(_, value)| value)
    };
}

fn price(price: u64) -> Option<Price> {
    if price == 0x7FFF_FFFF { Some(Price::market_cross()) } else { Price::new(price).ok() }
}

fn flag(letter: u8) -> Option<bool> {
    match letter {
        b'Y' => Some(true),
        b'N' => Some(false),
        _ => None,
    }
}

/// slouch's bytes of the same message; `None` when it cannot say it.
pub fn encoded_by_slouch(message: &Inbound) -> Option<Vec<u8>> {
    let request = match message {
        Inbound::Enter(m) => {
            let mut request = EnterOrder::new(
                urn(m.urn).ok()?,
                from_letter!(Side, m.side)?,
                m.quantity.0,
                StockSymbol::from(m.symbol.text()).ok()?,
                price(m.price)?,
                from_letter!(TimeInForce, m.tif)?,
                from_letter!(Display, m.display)?,
                from_letter!(Capacity, m.capacity)?,
                flag(m.iso)?,
                from_letter!(CrossType, m.cross)?,
                OrderToken::from(m.cl_ord_id.text()).ok()?,
            )
            .ok()?;
            if let Some(account) = m.appendage.account {
                request.add_option(TagValue::Firm(Mpid::from(account.text()).ok()?)).ok()?;
            }
            if let Some(quantity) = m.appendage.min_quantity {
                request.add_option(TagValue::MinQty(quantity)).ok()?;
            }
            OuchRequest::EnterOrder(request)
        }
        Inbound::Replace(m) => OuchRequest::ReplaceOrder(
            ReplaceOrder::new(
                urn(m.old_urn).ok()?,
                urn(m.urn).ok()?,
                m.quantity.0,
                price(m.price)?,
                from_letter!(TimeInForce, m.tif)?,
                from_letter!(Display, m.display)?,
                flag(m.iso)?,
                OrderToken::from(m.cl_ord_id.text()).ok()?,
            )
            .ok()?,
        ),
        Inbound::Cancel(m) => {
            OuchRequest::CancelOrder(CancelOrder::new(urn(m.urn).ok()?, m.quantity.0).ok()?)
        }
        Inbound::Query => OuchRequest::AccountQuery(AccountQuery::new()),
    };
    Some(request.encode())
}

/// Compares one order: what slouch writes for it is what was on the wire, and our decoder reads
/// slouch's bytes as the same message. X and Q: slouch adds an empty appendage.
pub fn compare_order(block: &[u8], tally: &mut Tally) -> Result<()> {
    let message =
        decode_inbound(block).map_err(|error| anyhow::anyhow!("{error}: {block:02x?}"))?;
    let Some(theirs) = encoded_by_slouch(&message) else {
        tally.skipped += 1;
        return Ok(());
    };
    let same = theirs == block
        || (matches!(message, Inbound::Cancel(_) | Inbound::Query)
            && theirs.strip_suffix(&[0, 0]) == Some(block));
    if !same {
        bail!("order: {block:02x?} on the wire, slouch writes {theirs:02x?}");
    }
    if decode_inbound(&theirs) != Ok(message) {
        bail!("slouch's bytes {theirs:02x?} are not read as {message:?}");
    }
    tally.messages += 1;
    tally.values += block.len();
    Ok(())
}

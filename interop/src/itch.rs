//! ITCH 5.0 as the crates itch5 and itchy read it.
//!
//! Both turn letters into enums; these are turned back here, variant by variant, so that a decoder
//! that reads a neighbouring byte is caught.

use crate::day;
use crate::fields::{self, Fields};
use anyhow::{Context, Result, bail};
use std::ops::ControlFlow;

/// Reads a recorded day with itch5.
pub fn by_itch5(bytes: &[u8]) -> Result<Vec<Fields>> {
    let mut collector = Collector(Vec::new());
    itch5::Parser::new(bytes)
        .parse_stream(&mut collector)
        .with_context(|| format!("itch5, after {} messages", collector.0.len()))?;
    Ok(collector.0)
}

/// Takes the messages that the venue emits; any other is left out and shows as a wrong count.
struct Collector(Vec<Fields>);

macro_rules! head {
    ($kind:literal, $m:expr) => {
        fields::prefix($kind, $m.stock_locate(), $m.tracking_number(), $m.timestamp().to_u64())
    };
}

/// The letter of an itch5 enum. `Unknown` keeps the byte; the standard's blank ("not available") is
/// unknown to some of its enums.
macro_rules! itch5_letter {
    ($value:expr, $ty:ident { $($variant:ident = $letter:literal),* $(,)? }) => {
        match $value {
            $( itch5::messages::$ty::$variant => $letter.to_string(), )*
            itch5::messages::$ty::Unknown(b' ') => " ".to_string(),
            itch5::messages::$ty::Unknown(byte) => format!("unknown {byte}"),
        }
    };
}

impl Collector {
    fn push(&mut self, fields: Fields) -> ControlFlow<()> {
        self.0.push(fields);
        ControlFlow::Continue(())
    }
}

impl itch5::MessageHandler for Collector {
    fn on_system_event(&mut self, m: &itch5::messages::SystemEvent) -> ControlFlow<()> {
        let mut fields = head!('S', m);
        fields.push((
            "code",
            itch5_letter!(m.event_code(), SystemEventCode {
                StartOfMessages = 'O', StartOfSystemHours = 'S', StartOfMarketHours = 'Q',
                EndOfMarketHours = 'M', EndOfSystemHours = 'E', EndOfMessages = 'C',
            }),
        ));
        self.push(fields)
    }

    fn on_stock_directory(&mut self, m: &itch5::messages::StockDirectory) -> ControlFlow<()> {
        let mut fields = head!('R', m);
        let sub_type = match m.issue_sub_type() {
            itch5::messages::IssueSubTypeCode::NotApplicable => "Z ".to_string(),
            other => format!("{other:?}"),
        };
        fields.extend([
            ("symbol", m.stock().as_str().to_string()),
            (
                "market_category",
                itch5_letter!(m.market_category(), MarketCategory {
                    NasdaqGlobalSelectMarket = 'Q', NasdaqGlobalMarket = 'G',
                    NasdaqCapitalMarket = 'S', NYSE = 'N', NYSEAmerican = 'A', NYSEArca = 'P',
                    BATSZExchange = 'Z', InvestorsExchangeLLC = 'V', NotAvailable = ' ',
                }),
            ),
            (
                "financial_status",
                itch5_letter!(m.financial_status_indicator(), FinancialStatusIndicator {
                    Deficient = 'D', Delinquent = 'E', Bankrupt = 'Q', Suspended = 'S',
                    DeficientBankrupt = 'G', DeficientDelinquent = 'H', DelinquentBankrupt = 'J',
                    DeficientDelinquentBankrupt = 'K', CreationsRedemptionsSuspendedETP = 'C',
                    Normal = 'N',
                }),
            ),
            ("round_lot", m.round_lot_size().to_string()),
            (
                "round_lots_only",
                itch5_letter!(m.round_lots_only(), RoundLotsOnly { Yes = 'Y', No = 'N' }),
            ),
            (
                "issue_class",
                itch5_letter!(m.issue_classification(), IssueClassificationCode {
                    AmericanDepositaryShare = 'A', Bond = 'B', CommonStock = 'C',
                    DepositoryReceipt = 'F', OneFourFourA = 'I', LimitedPartnership = 'L',
                    Notes = 'N', OrdinaryShare = 'O', PreferredStock = 'P', OtherSecurities = 'Q',
                    Right = 'R', SharesofBeneficialInterest = 'S', ConvertibleDebenture = 'T',
                    Unit = 'U', UnitsBenifInt = 'V', Warrant = 'W',
                }),
            ),
            ("issue_sub_type", sub_type),
            (
                "authenticity",
                itch5_letter!(m.authenticity(), Authenticity { LiveProduction = 'P', Test = 'T' }),
            ),
            (
                "short_sale_threshold",
                itch5_letter!(m.short_sale_threshold_indicator(), ShortSaleThresholdIndicator {
                    Restricted = 'Y', NotRestricted = 'N', NotAvailable = ' ',
                }),
            ),
            (
                "ipo",
                itch5_letter!(m.ipo_flag(), IpoFlag {
                    NewIPO = 'Y', NotNewIPO = 'N', NotAvailable = ' ',
                }),
            ),
            (
                "luld_tier",
                itch5_letter!(m.luld_reference_price_tier(), LuldReferencePriceTier {
                    Tier1 = '1', Tier2 = '2', NotAvailable = ' ',
                }),
            ),
            (
                "etp",
                itch5_letter!(m.etp_flag(), EtpFlag {
                    IsETP = 'Y', NotETP = 'N', NotAvailable = ' ',
                }),
            ),
            ("etp_leverage", m.etp_leverage_factor().to_string()),
            (
                "inverse",
                itch5_letter!(m.inverse_indicator(), InverseIndicator {
                    Inverse = 'Y', NotInverse = 'N',
                }),
            ),
        ]);
        self.push(fields)
    }

    fn on_stock_trading_action(
        &mut self,
        m: &itch5::messages::StockTradingAction,
    ) -> ControlFlow<()> {
        use zerocopy::IntoBytes;
        let mut fields = head!('H', m);
        fields.extend([
            ("symbol", m.stock().as_str().to_string()),
            (
                "state",
                itch5_letter!(m.trading_state(), TradingState {
                    Halted = 'H', Paused = 'P', QuotationOnly = 'Q', Trading = 'T',
                }),
            ),
            // itch5 shows the reason only as an enum that folds unknown ones together, so the bytes
            // of its own structure are taken.
            ("reason", m.as_bytes()[21..].iter().map(|&byte| char::from(byte)).collect()),
        ]);
        self.push(fields)
    }

    fn on_add_order_no_mpid_attribution(
        &mut self,
        m: &itch5::messages::AddOrderNoMPIDAttribution,
    ) -> ControlFlow<()> {
        let mut fields = head!('A', m);
        fields.extend([
            ("order_ref", m.order_reference_number().to_string()),
            (
                "side",
                itch5_letter!(m.buy_sell_indicator(), BuySellIndicator { Buy = 'B', Sell = 'S' }),
            ),
            ("quantity", m.shares().to_string()),
            ("symbol", m.stock().as_str().to_string()),
            ("price", m.price().into_u32().to_string()),
        ]);
        self.push(fields)
    }

    fn on_order_executed(&mut self, m: &itch5::messages::OrderExecuted) -> ControlFlow<()> {
        let mut fields = head!('E', m);
        fields.extend([
            ("order_ref", m.order_reference_number().to_string()),
            ("quantity", m.executed_shares().to_string()),
            ("match_number", m.match_number().to_string()),
        ]);
        self.push(fields)
    }

    fn on_order_executed_with_price(
        &mut self,
        m: &itch5::messages::OrderExecutedWithPrice,
    ) -> ControlFlow<()> {
        let mut fields = head!('C', m);
        fields.extend([
            ("order_ref", m.order_reference_number().to_string()),
            ("quantity", m.executed_shares().to_string()),
            ("match_number", m.match_number().to_string()),
            (
                "printable",
                itch5_letter!(m.printable(), Printable { Printable = 'Y', NonPrintable = 'N' }),
            ),
            ("price", m.execution_price().into_u32().to_string()),
        ]);
        self.push(fields)
    }

    fn on_order_cancel(&mut self, m: &itch5::messages::OrderCancel) -> ControlFlow<()> {
        let mut fields = head!('X', m);
        fields.extend([
            ("order_ref", m.order_reference_number().to_string()),
            ("quantity", m.cancelled_shares().to_string()),
        ]);
        self.push(fields)
    }

    fn on_order_delete(&mut self, m: &itch5::messages::OrderDelete) -> ControlFlow<()> {
        let mut fields = head!('D', m);
        fields.push(("order_ref", m.order_reference_number().to_string()));
        self.push(fields)
    }

    fn on_order_replace(&mut self, m: &itch5::messages::OrderReplace) -> ControlFlow<()> {
        let mut fields = head!('U', m);
        fields.extend([
            ("old_ref", m.original_order_reference_number().to_string()),
            ("order_ref", m.new_order_reference_number().to_string()),
            ("quantity", m.shares().to_string()),
            ("price", m.price().into_u32().to_string()),
        ]);
        self.push(fields)
    }
}

/// Reads a recorded day with itchy. It panics on types it does not know; that becomes an error.
pub fn by_itchy(bytes: &[u8]) -> Result<Vec<Fields>> {
    let read = std::panic::catch_unwind(|| {
        itchy::MessageStream::from_reader(bytes)
            .map(|message| message.map(|message| itchy_fields(&message)))
            .collect::<std::result::Result<Vec<Fields>, itchy::Error>>()
    });
    match read {
        Ok(messages) => messages.context("itchy"),
        Err(_) => bail!("itchy panicked"),
    }
}

fn yes_no(value: bool) -> String {
    if value { "Y".into() } else { "N".into() }
}

fn maybe(value: Option<bool>) -> String {
    value.map_or(" ".into(), yes_no)
}

fn itchy_fields(m: &itchy::Message) -> Fields {
    use itchy::Body;
    let kind = char::from(m.tag);
    let mut fields = fields::prefix(kind, m.stock_locate, m.tracking_number, m.timestamp);
    match &m.body {
        Body::SystemEvent { event } => {
            use itchy::EventCode::*;
            let code = match event {
                StartOfMessages => 'O',
                StartOfSystemHours => 'S',
                StartOfMarketHours => 'Q',
                EndOfMarketHours => 'M',
                EndOfSystemHours => 'E',
                EndOfMessages => 'C',
            };
            fields.push(("code", code.to_string()));
        }
        Body::StockDirectory(m) => {
            let market_category = match m.market_category {
                itchy::MarketCategory::NasdaqGlobalSelect => 'Q',
                itchy::MarketCategory::NasdaqGlobalMarket => 'G',
                itchy::MarketCategory::NasdaqCapitalMarket => 'S',
                itchy::MarketCategory::Nyse => 'N',
                itchy::MarketCategory::NyseMkt => 'A',
                itchy::MarketCategory::NyseArca => 'P',
                itchy::MarketCategory::BatsZExchange => 'Z',
                itchy::MarketCategory::InvestorsExchange => 'V',
                itchy::MarketCategory::Unavailable => ' ',
            };
            let financial_status = match m.financial_status {
                itchy::FinancialStatus::Normal => "N".to_string(),
                itchy::FinancialStatus::Unavailable => " ".to_string(),
                other => format!("{other:?}"),
            };
            let issue_class = match m.issue_classification {
                itchy::IssueClassification::CommonStock => "C".to_string(),
                other => format!("{other:?}"),
            };
            let issue_sub_type = match m.issue_subtype {
                itchy::IssueSubType::NotApplicable => "Z ".to_string(),
                other => format!("{other:?}"),
            };
            let luld_tier = match m.luld_ref_price_tier {
                itchy::LuldRefPriceTier::Tier1 => '1',
                itchy::LuldRefPriceTier::Tier2 => '2',
                itchy::LuldRefPriceTier::Na => ' ',
            };
            fields.extend([
                ("symbol", m.stock.to_string()),
                ("market_category", market_category.to_string()),
                ("financial_status", financial_status),
                ("round_lot", m.round_lot_size.to_string()),
                ("round_lots_only", yes_no(m.round_lots_only)),
                ("issue_class", issue_class),
                ("issue_sub_type", issue_sub_type),
                ("authenticity", if m.authenticity { "P".into() } else { "T".into() }),
                ("short_sale_threshold", maybe(m.short_sale_threshold)),
                ("ipo", maybe(m.ipo_flag)),
                ("luld_tier", luld_tier.to_string()),
                ("etp", maybe(m.etp_flag)),
                ("etp_leverage", m.etp_leverage_factor.to_string()),
                ("inverse", yes_no(m.inverse_indicator)),
            ]);
        }
        Body::TradingAction { stock, trading_state, reason } => {
            let state = match trading_state {
                itchy::TradingState::Halted => 'H',
                itchy::TradingState::Paused => 'P',
                itchy::TradingState::QuotationOnly => 'Q',
                itchy::TradingState::Trading => 'T',
            };
            fields.extend([
                ("symbol", stock.to_string()),
                ("state", state.to_string()),
                ("reason", reason.to_string()),
            ]);
        }
        Body::AddOrder(m) => {
            let side = match m.side {
                itchy::Side::Buy => 'B',
                itchy::Side::Sell => 'S',
            };
            fields.extend([
                ("order_ref", m.reference.to_string()),
                ("side", side.to_string()),
                ("quantity", m.shares.to_string()),
                ("symbol", m.stock.to_string()),
                ("price", m.price.raw().to_string()),
            ]);
        }
        Body::OrderExecuted { reference, executed, match_number } => fields.extend([
            ("order_ref", reference.to_string()),
            ("quantity", executed.to_string()),
            ("match_number", match_number.to_string()),
        ]),
        Body::OrderExecutedWithPrice { reference, executed, match_number, printable, price } => {
            fields.extend([
                ("order_ref", reference.to_string()),
                ("quantity", executed.to_string()),
                ("match_number", match_number.to_string()),
                ("printable", if *printable { "Y" } else { "N" }.to_string()),
                ("price", price.raw().to_string()),
            ])
        }
        Body::OrderCancelled { reference, cancelled } => fields
            .extend([("order_ref", reference.to_string()), ("quantity", cancelled.to_string())]),
        Body::DeleteOrder { reference } => fields.push(("order_ref", reference.to_string())),
        Body::ReplaceOrder(m) => fields.extend([
            ("old_ref", m.old_reference.to_string()),
            ("order_ref", m.new_reference.to_string()),
            ("quantity", m.shares.to_string()),
            ("price", m.price.raw().to_string()),
        ]),
        other => fields.push(("unexpected", format!("{other:?}"))),
    }
    fields
}

/// Compares what a witness read with what our decoder reads from the same file; returns how many
/// messages and values were compared.
pub fn compare(bytes: &[u8], witness: &str, theirs: &[Fields]) -> Result<(usize, usize)> {
    let ours = day::decode(&day::messages(bytes)?)?;
    let mut values = 0;
    for (i, (ours, theirs)) in ours.iter().zip(theirs).enumerate() {
        let ours = fields::of_itch(ours);
        if let Some(difference) = fields::difference(&ours, theirs) {
            bail!("{witness}, message {}: {difference}", i + 1);
        }
        values += ours.len();
    }
    if ours.len() != theirs.len() {
        bail!("{witness} read {} messages, we {}", theirs.len(), ours.len());
    }
    Ok((ours.len(), values))
}

//! Numbers and money, as a language writes them.

use fixed_decimal::{Decimal, FloatPrecision, SignedRoundingMode, UnsignedRoundingMode};
use icu_decimal::DecimalFormatter;
use icu_experimental::dimension::currency::CurrencyType;
use icu_experimental::dimension::currency::formatter::CurrencyFormatter;
use icu_locale_core::extensions::unicode;
use serde_json::Value;

use super::super::error::RenderFault;
use super::super::value::Val;
use super::{Args, Given, Helper, locale};

/// What finding a language's data takes, several microseconds.
pub(super) const STEPS: usize = 64;
/// Larger numbers are no amounts, and doubles don't hold their last digits.
const NUMBER_MAX: f64 = 1e15;
/// The bytes of a number that comes as a text.
const TEXT_BYTES_MAX: usize = 32;
/// The digits after the point that can be asked for, and how many there are at most where nobody asks.
const DIGITS_MAX: u64 = 9;
const DIGITS_DEFAULT: i16 = 3;

/// `{{number count digits=2 locale="de"}}`.
pub(super) static NUMBER: Helper = Helper {
    name: "number",
    params: 1..=1,
    options: &["digits", "locale"],
    steps: STEPS,
    run: number,
};

/// `{{money price "EUR" locale="de"}}`: with as many digits as the currency has. With `minor=true` the number counts its smallest
/// unit, such as cents.
pub(super) static MONEY: Helper = Helper {
    name: "money",
    params: 2..=2,
    options: &["locale", "minor"],
    steps: STEPS,
    run: money,
};

fn number<'a>(args: &mut Args<'a, '_, '_>) -> Given<'a> {
    let mut decimal = decimal(args)?;
    match digits(args)? {
        Some(digits) => {
            round(&mut decimal, digits);
            decimal.absolute.pad_end(-digits);
        }
        None => {
            round(&mut decimal, DIGITS_DEFAULT);
            decimal.absolute.trim_end();
        }
    }
    text(args, &decimal)
}

/// A number as the language writes it.
pub(super) fn text<'a>(args: &Args<'a, '_, '_>, decimal: &Decimal) -> Given<'a> {
    let formatter = DecimalFormatter::try_new((&locale::of(args)?).into(), Default::default());
    let formatter = formatter.map_err(|_| args.problem("has no data for this `locale`"))?;
    Ok(Val::Made(formatter.format(decimal).to_string().into()))
}

fn money<'a>(args: &mut Args<'a, '_, '_>) -> Given<'a> {
    let mut decimal = decimal(args)?;
    let currency = currency(args)?;
    if args
        .option("minor")?
        .is_some_and(|minor| minor == &Value::Bool(true))
    {
        decimal.multiply_pow10(-minor_digits(currency));
    }
    let formatter =
        CurrencyFormatter::try_new_symbol((&locale::of(args)?).into(), currency, Default::default());
    let formatter = formatter.map_err(|_| args.problem("has no data for this `locale`"))?;
    let text = formatter.format_fixed_decimal(&decimal);
    Ok(Val::Made(text.to_string().into()))
}

/// The first parameter: a number, or one as a text, such as `12.50`.
pub(super) fn decimal(args: &Args<'_, '_, '_>) -> Result<Decimal, RenderFault> {
    let decimal = match args.present(0)? {
        Value::Number(number) => number
            .as_f64()
            .filter(|double| double.abs() < NUMBER_MAX)
            .and_then(|double| match number.as_i64() {
                Some(integer) => Some(Decimal::from(integer)),
                None => Decimal::try_from_f64(double, FloatPrecision::RoundTrip).ok(),
            }),
        Value::String(text) if text.len() <= TEXT_BYTES_MAX && is_plain(text) && whole_digits(text) <= 15 => {
            Decimal::try_from_str(text).ok()
        }
        _ => None,
    };
    decimal.ok_or_else(|| args.problem("its first parameter is no number below 10^15"))
}

fn is_plain(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b'.'))
}

/// The digits before the point, without zeros at the beginning.
fn whole_digits(text: &str) -> usize {
    let whole = text.split('.').next().unwrap_or_default();
    whole.trim_start_matches(['-', '0']).len()
}

fn digits(args: &Args<'_, '_, '_>) -> Result<Option<i16>, RenderFault> {
    let Some(option) = args.option("digits")? else {
        return Ok(None);
    };
    let digits = option.as_u64().filter(|digits| *digits <= DIGITS_MAX);
    let digits = digits.and_then(|digits| i16::try_from(digits).ok());
    digits
        .map(Some)
        .ok_or_else(|| args.problem(format!("`digits` is no number from 0 to {DIGITS_MAX}")))
}

/// Half is rounded away from zero, as on an invoice.
fn round(decimal: &mut Decimal, digits: i16) {
    let half = SignedRoundingMode::Unsigned(UnsignedRoundingMode::HalfExpand);
    decimal.round_with_mode(-digits, half);
}

fn currency(args: &Args<'_, '_, '_>) -> Result<CurrencyType, RenderFault> {
    let code = args.present(1)?.as_str();
    let code = code.filter(|code| code.len() == 3 && code.bytes().all(|byte| byte.is_ascii_alphabetic()));
    let value = code.and_then(|code| unicode::Value::try_from_str(&code.to_ascii_lowercase()).ok());
    value
        .and_then(|value| CurrencyType::try_from(&value).ok())
        .ok_or_else(|| args.problem("its second parameter is no currency's code, such as EUR"))
}

/// The digits of a currency's smallest unit, where they are not two (ISO 4217).
fn minor_digits(currency: CurrencyType) -> i16 {
    match currency.iso_code().as_str() {
        "BIF" | "CLP" | "DJF" | "GNF" | "ISK" | "JPY" | "KMF" | "KRW" | "PYG" | "RWF" | "UGX" | "VND"
        | "VUV" | "XAF" | "XOF" | "XPF" => 0,
        "BHD" | "IQD" | "JOD" | "KWD" | "LYD" | "OMR" | "TND" => 3,
        _ => 2,
    }
}

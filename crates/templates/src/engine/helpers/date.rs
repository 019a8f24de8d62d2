//! Dates and times, as a language writes them.

use icu_calendar::Gregorian;
use icu_datetime::input::{Date, DateTime, Time};
use icu_datetime::{FixedCalendarDateTimeFormatter as Formatter, NoCalendarFormatter, fieldsets};
use jiff::civil;
use jiff::tz::TimeZoneDatabase;
use serde_json::Value;

use super::super::error::RenderFault;
use super::super::value::Val;
use super::{Args, Given, Helper, locale};

/// What finding a language's names and patterns takes, tens of microseconds.
const STEPS: usize = 128;
/// No date that is written is longer (RFC 9557).
const TEXT_BYTES_MAX: usize = 64;

/// `{{date when style="long" zone="Europe/Berlin" locale="de"}}`.
pub(super) static DATE: Helper = Helper {
    name: "date",
    params: 1..=1,
    options: &["locale", "style", "zone"],
    steps: STEPS,
    run: date,
};

/// `{{time when zone="Europe/Berlin" locale="de"}}`: hours and minutes.
pub(super) static TIME: Helper = Helper {
    name: "time",
    params: 1..=1,
    options: &["locale", "zone"],
    steps: STEPS,
    run: time,
};

/// `{{datetime when}}`: both, with the options of `date`.
pub(super) static DATETIME: Helper = Helper {
    name: "datetime",
    params: 1..=1,
    options: &["locale", "style", "zone"],
    steps: STEPS,
    run: datetime,
};

/// How much of a date is written.
enum Style {
    Short,
    Medium,
    Long,
    /// With the day of the week.
    Full,
}

fn date<'a>(args: &mut Args<'a, '_, '_>) -> Given<'a> {
    let (date, _) = moment(args)?;
    let (date, prefs) = (gregorian(args, date)?, (&locale::of(args)?).into());
    let text = match style(args)? {
        Style::Short => {
            Formatter::try_new(prefs, fieldsets::YMD::short()).map(|f| f.format(&date).to_string())
        }
        Style::Medium => {
            Formatter::try_new(prefs, fieldsets::YMD::medium()).map(|f| f.format(&date).to_string())
        }
        Style::Long => Formatter::try_new(prefs, fieldsets::YMD::long()).map(|f| f.format(&date).to_string()),
        Style::Full => {
            Formatter::try_new(prefs, fieldsets::YMDE::long()).map(|f| f.format(&date).to_string())
        }
    };
    made(args, text.ok())
}

fn datetime<'a>(args: &mut Args<'a, '_, '_>) -> Given<'a> {
    let (date, time) = moment(args)?;
    let time = clock(args, time)?;
    let at = DateTime {
        date: gregorian(args, date)?,
        time,
    };
    let prefs = (&locale::of(args)?).into();
    let text = match style(args)? {
        Style::Short => Formatter::try_new(prefs, fieldsets::YMD::short().with_time_hm())
            .map(|f| f.format(&at).to_string()),
        Style::Medium => Formatter::try_new(prefs, fieldsets::YMD::medium().with_time_hm())
            .map(|f| f.format(&at).to_string()),
        Style::Long => Formatter::try_new(prefs, fieldsets::YMD::long().with_time_hm())
            .map(|f| f.format(&at).to_string()),
        Style::Full => Formatter::try_new(prefs, fieldsets::YMDE::long().with_time_hm())
            .map(|f| f.format(&at).to_string()),
    };
    made(args, text.ok())
}

fn time<'a>(args: &mut Args<'a, '_, '_>) -> Given<'a> {
    let (_, time) = moment(args)?;
    let time = clock(args, time)?;
    let formatter = NoCalendarFormatter::try_new((&locale::of(args)?).into(), fieldsets::T::hm());
    made(
        args,
        formatter
            .map(|formatter| formatter.format(&time).to_string())
            .ok(),
    )
}

fn made<'a>(args: &Args<'a, '_, '_>, text: Option<String>) -> Given<'a> {
    let text = text.ok_or_else(|| args.problem("has no data for this `locale`"))?;
    Ok(Val::Made(text.into()))
}

fn style(args: &Args<'_, '_, '_>) -> Result<Style, RenderFault> {
    match args.text_option("style")? {
        Some("short") => Ok(Style::Short),
        Some("medium") => Ok(Style::Medium),
        Some("long") | None => Ok(Style::Long),
        Some("full") => Ok(Style::Full),
        Some(_) => Err(args.problem("`style` is none of short, medium, long, full")),
    }
}

/// The date and, if there is one, the time that the first parameter tells: in the zone that is asked for, else as it is written.
fn moment(args: &Args<'_, '_, '_>) -> Result<(civil::Date, Option<civil::Time>), RenderFault> {
    let text = match args.present(0)? {
        Value::String(text) if text.len() <= TEXT_BYTES_MAX => text,
        _ => return Err(no_date(args)),
    };
    let Some(zone) = args.text_option("zone")? else {
        let parsed = jiff::fmt::temporal::Pieces::parse(text).map_err(|_| no_date(args))?;
        return Ok((parsed.date(), parsed.time()));
    };
    let zone = TimeZoneDatabase::bundled()
        .get(zone)
        .map_err(|_| args.problem("`zone` is none that is known, such as Europe/Berlin"))?;
    let instant: jiff::Timestamp = text.parse().map_err(|_| {
        args.problem("its first parameter has no offset, such as Z, from which to go to a `zone`")
    })?;
    let there = zone.to_datetime(instant);
    Ok((there.date(), Some(there.time())))
}

fn no_date(args: &Args<'_, '_, '_>) -> RenderFault {
    args.problem("its first parameter is no date, such as 2026-01-31 or 2026-01-31T10:00:00Z")
}

fn gregorian(args: &Args<'_, '_, '_>, date: civil::Date) -> Result<Date<Gregorian>, RenderFault> {
    let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
    Date::try_new_gregorian(date.year().into(), month, day).map_err(|_| no_date(args))
}

fn clock(args: &Args<'_, '_, '_>, time: Option<civil::Time>) -> Result<Time, RenderFault> {
    let time = time.ok_or_else(|| args.problem("its first parameter is a date without a time"))?;
    let (hour, minute, second) = (time.hour(), time.minute(), time.second());
    Time::try_new(
        hour.unsigned_abs(),
        minute.unsigned_abs(),
        second.unsigned_abs(),
        0,
    )
    .map_err(|_| no_date(args))
}

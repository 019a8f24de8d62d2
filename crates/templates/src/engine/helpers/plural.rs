//! Words that depend on a number: `{{plural count one="# item" other="# items"}}`.

use icu_plurals::{PluralCategory, PluralRules};

use super::super::value::Val;
use super::number::{STEPS, decimal, text};
use super::{Args, Given, Helper, locale};

/// The forms of a word. `none` is for the number 0 in every language; the others are CLDR's, of which a language has some.
const OPTIONS: &[&str] = &["few", "locale", "many", "none", "one", "other", "two", "zero"];

/// What is made has so many bytes at most, times those of a number.
const FORM_BYTES_MAX: usize = 200;

/// How many, such as 1 item, 2 items.
pub(super) static PLURAL: Helper = Helper {
    name: "plural",
    params: 1..=1,
    options: OPTIONS,
    steps: STEPS,
    run: |args| form(args, PluralRules::try_new_cardinal),
};

/// Which one, such as 1st, 2nd.
pub(super) static ORDINAL: Helper = Helper {
    name: "ordinal",
    params: 1..=1,
    options: OPTIONS,
    steps: STEPS,
    run: |args| form(args, PluralRules::try_new_ordinal),
};

type Rules = fn(icu_plurals::PluralRulesPreferences) -> Result<PluralRules, icu_provider::DataError>;

/// The form that the number takes; `#` in it becomes the number.
fn form<'a>(args: &mut Args<'a, '_, '_>, rules: Rules) -> Given<'a> {
    let decimal = decimal(args)?;
    let rules = rules((&locale::of(args)?).into());
    let rules = rules.map_err(|_| args.problem("has no data for this `locale`"))?;
    let name = match rules.category_for(&decimal) {
        _ if decimal.absolute.is_zero() && args.option("none")?.is_some() => "none",
        PluralCategory::Zero => "zero",
        PluralCategory::One => "one",
        PluralCategory::Two => "two",
        PluralCategory::Few => "few",
        PluralCategory::Many => "many",
        PluralCategory::Other => "other",
    };
    let other = args.text_option("other")?;
    let other = other.ok_or_else(|| args.problem("needs the option `other`"))?;
    let form = args.text_option(name)?.unwrap_or(other);
    let number = text(args, &decimal)?;
    let number = number
        .get()
        .and_then(serde_json::Value::as_str)
        .unwrap_or_default();
    if form.len() > FORM_BYTES_MAX {
        return Err(args.problem(format!("a form has more than {FORM_BYTES_MAX} bytes")));
    }
    Ok(Val::Made(form.replace('#', number).into()))
}

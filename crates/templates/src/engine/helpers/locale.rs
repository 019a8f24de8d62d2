//! The language and country for which a helper writes.

use icu_locale_core::Locale;

use super::super::error::RenderFault;
use super::Args;

/// Languages of which ICU4X's data (CLDR) has numbers, money, dates and plurals. What it does not know it would write as if nobody
/// had said a language.
const LANGUAGES: &[&str] = &[
    "af", "am", "ar", "as", "az", "be", "bg", "bn", "bs", "ca", "cs", "cy", "da", "de", "el", "en", "es",
    "et", "eu", "fa", "fi", "fil", "fr", "ga", "gl", "gu", "he", "hi", "hr", "hu", "hy", "id", "is", "it",
    "ja", "ka", "kk", "km", "kn", "ko", "ky", "lo", "lt", "lv", "mk", "ml", "mn", "mr", "ms", "my", "nb",
    "ne", "nl", "nn", "no", "or", "pa", "pl", "ps", "pt", "ro", "ru", "sd", "si", "sk", "sl", "so", "sq",
    "sr", "sv", "sw", "ta", "te", "th", "tk", "tr", "uk", "ur", "uz", "vi", "yo", "zh", "zu",
];

/// What is longer is no language and country.
const BYTES_MAX: usize = 35;

/// The option `locale`, such as `de` or `pt-BR` (BCP 47; `pt_BR` is taken too); `en` where it is not given.
pub(super) fn of(args: &Args<'_, '_, '_>) -> Result<Locale, RenderFault> {
    let Some(text) = args.text_option("locale")? else {
        return Ok(icu_locale_core::locale!("en"));
    };
    let parsed = (text.len() <= BYTES_MAX).then(|| Locale::try_from_str(&text.replace('_', "-")));
    match parsed {
        Some(Ok(locale)) if LANGUAGES.contains(&locale.id.language.as_str()) => Ok(locale),
        _ => Err(args.problem("`locale` is none that is known")),
    }
}

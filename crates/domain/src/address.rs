//! Mail addresses, normalised.
//!
//! One mailbox has one spelling here, because the spelling is part of a message's id: the domain in lower case and in
//! punycode, the local part as given (RFC 5321, 2.4: only its host may judge the case). What can't be brought into one
//! spelling, or what the providers can't deliver to, is refused: a quoted local part, a domain literal, a local part
//! beyond ASCII (SES has no SMTPUTF8). Errors name the rule and never the address, and `Debug` shows neither address nor
//! name, so that neither gets into a log.

use std::fmt;

use email_address::{EmailAddress, Options};
use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};

/// RFC 5321, 4.5.3.1.1.
pub const LOCAL_PART_BYTES_MAX: usize = 64;
/// RFC 5321, 4.5.3.1.2.
pub const DOMAIN_BYTES_MAX: usize = 255;
/// RFC 5321, 4.5.3.1.3, less the two angle brackets of the path.
pub const ADDRESS_BYTES_MAX: usize = 254;
/// A display name's characters.
pub const DISPLAY_NAME_CHARS_MAX: usize = 200;

/// A rule that an address or a display name broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("an address needs an @ between its local part and its domain")]
    NoAt,
    #[error("the address is {bytes} bytes long, at most {ADDRESS_BYTES_MAX}")]
    TooLong { bytes: usize },
    #[error("the local part is empty")]
    LocalPartEmpty,
    #[error("the local part is {bytes} bytes long, at most {LOCAL_PART_BYTES_MAX}")]
    LocalPartTooLong { bytes: usize },
    #[error("the local part has characters beyond ASCII")]
    LocalPartNotAscii,
    #[error("a quoted local part is not supported")]
    LocalPartQuoted,
    #[error("the local part has a character, or a dot in a place, that RFC 5321 does not allow")]
    LocalPartInvalid,
    #[error("the domain is empty")]
    DomainEmpty,
    #[error("the domain is {bytes} bytes long in punycode, at most {DOMAIN_BYTES_MAX}")]
    DomainTooLong { bytes: usize },
    #[error("an IP address in place of a domain is not supported")]
    DomainLiteral,
    #[error("the domain is no valid host name")]
    DomainInvalid,
    #[error("the display name has a control character")]
    NameControlCharacter,
    #[error("the display name is {chars} characters long, at most {DISPLAY_NAME_CHARS_MAX}")]
    NameTooLong { chars: usize },
}

/// `local@domain` in its one spelling.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    text: String,
    /// Where the domain begins.
    domain_at: usize,
}

impl Address {
    /// Reads an address without display name and angle brackets.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        // Punycode is seldom shorter than a fourth of its text in UTF-8; the bound keeps the work small.
        if text.len() > 4 * ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong { bytes: text.len() });
        }
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::NoAt)?;
        check_local_part(local)?;
        let domain = normalise_domain(domain)?;
        let text = format!("{local}@{domain}");
        if text.len() > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong { bytes: text.len() });
        }
        let options = Options::default().without_display_text().without_domain_literal();
        EmailAddress::parse_with_options(&text, options).map_err(rule_of)?;
        Ok(Self {
            domain_at: local.len() + 1,
            text,
        })
    }

    /// The whole address: ASCII.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part after the @: lower case, punycode.
    #[must_use]
    pub fn domain(&self) -> &str {
        &self.text[self.domain_at..]
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Address(redacted)")
    }
}

fn check_local_part(local: &str) -> Result<(), AddressError> {
    if local.is_empty() {
        Err(AddressError::LocalPartEmpty)
    } else if !local.is_ascii() {
        Err(AddressError::LocalPartNotAscii)
    } else if local.starts_with('"') {
        Err(AddressError::LocalPartQuoted)
    } else if local.len() > LOCAL_PART_BYTES_MAX {
        Err(AddressError::LocalPartTooLong { bytes: local.len() })
    } else {
        Ok(())
    }
}

/// UTS #46 with the host name rules of STD3. Hyphens in the third and fourth place are let through: such domains exist.
fn normalise_domain(domain: &str) -> Result<String, AddressError> {
    if domain.is_empty() {
        return Err(AddressError::DomainEmpty);
    }
    if domain.starts_with('[') {
        return Err(AddressError::DomainLiteral);
    }
    let ascii = Uts46::new()
        .to_ascii(
            domain.as_bytes(),
            AsciiDenyList::STD3,
            Hyphens::CheckFirstLast,
            DnsLength::Ignore,
        )
        .map_err(|_| AddressError::DomainInvalid)?;
    if ascii.len() > DOMAIN_BYTES_MAX {
        return Err(AddressError::DomainTooLong { bytes: ascii.len() });
    }
    Ok(ascii.into_owned())
}

/// What the syntax check can still find once both parts are normalised and measured.
fn rule_of(error: email_address::Error) -> AddressError {
    use email_address::Error;
    match error {
        Error::DomainEmpty
        | Error::DomainTooLong
        | Error::SubDomainEmpty
        | Error::SubDomainTooLong
        | Error::DomainTooFew
        | Error::DomainInvalidSeparator => AddressError::DomainInvalid,
        // The domain's characters are checked by UTS #46 before.
        _ => AddressError::LocalPartInvalid,
    }
}

/// An address and the name to show for it.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mailbox {
    address: Address,
    display_name: Option<String>,
}

impl Mailbox {
    /// Reads both parts; an empty (or blank) name is none. A control character in the name is refused, CR and LF above
    /// all: the name goes into a header.
    pub fn parse(address: &str, display_name: &str) -> Result<Self, AddressError> {
        let address = Address::parse(address)?;
        if display_name.chars().any(char::is_control) {
            return Err(AddressError::NameControlCharacter);
        }
        let name = display_name.trim();
        let chars = name.chars().count();
        if chars > DISPLAY_NAME_CHARS_MAX {
            return Err(AddressError::NameTooLong { chars });
        }
        Ok(Self {
            address,
            display_name: (!name.is_empty()).then(|| name.to_owned()),
        })
    }

    #[must_use]
    pub const fn address(&self) -> &Address {
        &self.address
    }

    /// Never empty, without control characters, not encoded.
    #[must_use]
    pub fn display_name(&self) -> Option<&str> {
        self.display_name.as_deref()
    }
}

impl fmt::Debug for Mailbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mailbox(redacted)")
    }
}

#[cfg(test)]
mod tests;

//! What the columns of a list mean, by its header: the lists of other providers, and our own.
//!
//! | header | list | reason |
//! |---|---|---|
//! | none: `a@b.c,BOUNCE` | SES, as its import jobs take it | of the line |
//! | `EmailAddress,Reason[,LastUpdateTime]` | SES, `list-suppressed-destinations` | of the line |
//! | `address,code,error,created_at` | Mailgun's bounces | hard_bounce |
//! | `address,tags,created_at` | Mailgun's unsubscribes | unsubscribe; a tag other than `*` is the category |
//! | `address,created_at` | Mailgun's complaints | complaint |
//! | `status,reason,email,created` | SendGrid's bounces and blocks | hard_bounce, for a status `5.x.x` alone |
//! | `ip,email,created` | SendGrid's spam reports | complaint |
//! | `email,created` | SendGrid's unsubscribes | unsubscribe |
//! | `reason,email,created` | SendGrid's invalid addresses | hard_bounce |
//! | `address[,reason][,category][,at]`, others ignored | any | of the line, or `--reason` |
//!
//! Columns may stand in any order, and names in any case.

use anyhow::{bail, ensure};
use paceline_domain::suppression::SuppressionReason;

/// Which column is which, and what the list says of all its lines.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Columns {
    pub(super) count: usize,
    pub(super) address: usize,
    pub(super) reason: Option<usize>,
    pub(super) category: Option<usize>,
    pub(super) at: Option<usize>,
    /// An enhanced status code: one that does not begin with 5 is no hard bounce.
    pub(super) status: Option<usize>,
    /// Of lines without one.
    pub(super) of_all: Option<SuppressionReason>,
}

/// A list that is known by its columns.
struct List {
    columns: &'static [&'static str],
    address: &'static str,
    at: &'static str,
    reason: SuppressionReason,
}

const LISTS: [List; 7] = [
    List {
        columns: &["address", "code", "error", "created_at"],
        address: "address",
        at: "created_at",
        reason: SuppressionReason::HardBounce,
    },
    List {
        columns: &["address", "tags", "created_at"],
        address: "address",
        at: "created_at",
        reason: SuppressionReason::Unsubscribe,
    },
    List {
        columns: &["address", "created_at"],
        address: "address",
        at: "created_at",
        reason: SuppressionReason::Complaint,
    },
    List {
        columns: &["status", "reason", "email", "created"],
        address: "email",
        at: "created",
        reason: SuppressionReason::HardBounce,
    },
    List {
        columns: &["ip", "email", "created"],
        address: "email",
        at: "created",
        reason: SuppressionReason::Complaint,
    },
    List {
        columns: &["email", "created"],
        address: "email",
        at: "created",
        reason: SuppressionReason::Unsubscribe,
    },
    List {
        columns: &["reason", "email", "created"],
        address: "email",
        at: "created",
        reason: SuppressionReason::HardBounce,
    },
];

impl Columns {
    /// Those of a file without a header, whose first line has `count` fields.
    pub(super) const fn of_ses(count: usize) -> Self {
        Self {
            count,
            address: 0,
            reason: if count > 1 { Some(1) } else { None },
            category: None,
            at: None,
            status: None,
            of_all: None,
        }
    }

    /// Those that a header names. `given` is the reason of all lines that name none.
    ///
    /// # Errors
    /// If it can't be told which column has the addresses, or why they are suppressed.
    pub(super) fn read(header: &[&str], given: Option<SuppressionReason>) -> anyhow::Result<Self> {
        let names: Vec<String> = header
            .iter()
            .map(|name| name.trim().to_ascii_lowercase())
            .collect();
        for (index, name) in names.iter().enumerate() {
            ensure!(!names[..index].contains(name), "the header names a column twice");
        }
        let place = |name: &str| names.iter().position(|other| other == name);
        let is = |list: &&List| {
            list.columns.len() == names.len() && list.columns.iter().all(|name| place(name).is_some())
        };
        if let Some(list) = LISTS.iter().find(is) {
            return Ok(Self {
                count: names.len(),
                address: place(list.address).unwrap_or_default(),
                reason: None,
                category: place("tags"),
                at: place(list.at),
                status: place("status"),
                of_all: Some(given.unwrap_or(list.reason)),
            });
        }
        let Some(address) = place("address").or_else(|| place("emailaddress")) else {
            bail!("the header names no column address, and is none of a list that is known; see --help");
        };
        let reason = place("reason");
        ensure!(
            reason.is_some() || given.is_some(),
            "the header names no column reason: say it with --reason"
        );
        Ok(Self {
            count: names.len(),
            address,
            reason,
            category: place("category"),
            at: place("at").or_else(|| place("lastupdatetime")),
            status: None,
            of_all: given,
        })
    }
}

#[cfg(test)]
mod tests {
    use paceline_domain::suppression::SuppressionReason::{self, Complaint, HardBounce, Unsubscribe};

    use super::Columns;

    fn read(header: &str, given: Option<SuppressionReason>) -> Result<Columns, String> {
        let header: Vec<&str> = header.split(',').collect();
        Columns::read(&header, given).map_err(|error| error.to_string())
    }

    #[test]
    fn lists_are_known_by_their_columns_in_any_order() {
        for (header, reason, address) in [
            ("address,code,error,created_at", HardBounce, 0),
            ("address,tags,created_at", Unsubscribe, 0),
            ("Address,Created_At", Complaint, 0),
            ("status,reason,email,created", HardBounce, 2),
            ("created,email,reason,status", HardBounce, 1),
            ("ip,email,created", Complaint, 1),
            ("email,created", Unsubscribe, 0),
            ("reason,email,created", HardBounce, 1),
        ] {
            let columns = read(header, None).expect(header);
            assert_eq!(
                (columns.of_all, columns.address),
                (Some(reason), address),
                "{header}"
            );
            assert_eq!(
                columns.reason, None,
                "{header}: what SendGrid calls so is an SMTP answer"
            );
        }
        let given = read("email,created", Some(Complaint)).expect("known");
        assert_eq!(given.of_all, Some(Complaint));
    }

    #[test]
    fn other_lists_name_their_columns() {
        let ses = read("EmailAddress,Reason,LastUpdateTime", None).expect("SES");
        assert_eq!((ses.address, ses.reason, ses.at), (0, Some(1), Some(2)));
        let own = read("address_hash,address,reason,category,at,source", None).expect("our own");
        assert_eq!(
            (own.address, own.reason, own.category, own.at),
            (1, Some(2), Some(3), Some(4))
        );
        assert!(read("address", None).expect_err("why?").contains("--reason"));
        assert_eq!(
            read("address", Some(Complaint)).expect("said").of_all,
            Some(Complaint)
        );
        assert!(
            read("name,phone", None)
                .expect_err("no address")
                .contains("address")
        );
        assert!(
            read("address,address", None)
                .expect_err("twice")
                .contains("twice")
        );
    }
}

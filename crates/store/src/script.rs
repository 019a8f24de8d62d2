//! The Lua scripts: one file for each operation, the shared parts put before those that move records.

use std::sync::LazyLock;

use fred::util::sha1_hash;

/// A script and its hash.
pub(crate) struct Script {
    pub(crate) name: &'static str,
    pub(crate) source: String,
    pub(crate) hash: String,
}

/// Read by every script that moves records, in this order.
const SHARED: [&str; 3] = [
    include_str!("lua/record.lua"),
    include_str!("lua/transition.lua"),
    include_str!("lua/commit.lua"),
];

/// Read by the scripts that mind the hold, after those.
const HOLD: &str = include_str!("lua/hold.lua");

impl Script {
    fn plain(name: &'static str, source: &str) -> Self {
        let source = source.to_owned();
        let hash = sha1_hash(&source);
        Self { name, source, hash }
    }

    fn on_records(name: &'static str, source: &str) -> Self {
        Self::after(&SHARED, name, source)
    }

    fn on_records_and_run(name: &'static str, source: &str) -> Self {
        Self::after(&[&SHARED[..], &[HOLD]].concat(), name, source)
    }

    fn on_run(name: &'static str, source: &str) -> Self {
        Self::after(&[HOLD], name, source)
    }

    /// The first line, which names the engine and the flags, must stay the first.
    fn after(parts: &[&str], name: &'static str, source: &str) -> Self {
        let (shebang, own) = source.split_once('\n').unwrap_or((source, ""));
        Self::plain(name, &[shebang, &parts.concat(), own].join("\n"))
    }
}

macro_rules! scripts {
    ($($make:ident $name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: LazyLock<Script> =
            LazyLock::new(|| Script::$make($file, include_str!(concat!("lua/", $file, ".lua"))));)*

        /// The hash by which Redis knows the script of that name, as in its slow log; `None`: there is no such script.
        #[must_use]
        pub fn script_hash(name: &str) -> Option<&'static str> {
            match name {
                $($file => Some(&$name.hash),)*
                _ => None,
            }
        }
    };
}

scripts! {
    on_records ENQUEUE = "enqueue";
    on_records_and_run CLAIM = "claim";
    on_run RUN = "run";
    on_records ASSERT = "assert";
    on_records EXPIRE = "expire";
    on_records FINISH = "finish";
    on_records LAPSE = "lapse";
    on_records RESOLVE = "resolve";
    on_records PROMOTE = "promote";
    on_records BURY = "bury";
    on_records POSTPONE = "postpone";
    on_records CANCEL = "cancel";
    on_records STOP = "stop";
    on_records RELEASE = "release";
    on_records REDRIVE = "redrive";
    on_records DISCARD = "discard";
    on_records ERASE = "erase";
    on_records EVIDENCE = "evidence";
    on_records SCRUB = "scrub";
    plain SETTLE = "settle";
    plain GIVE_BACK = "give_back";
    plain RETIRE = "retire";
    plain ACTIVATE = "activate";
    plain REAP = "reap";
    plain STOP_WRITE = "stop_write";
    plain DUE = "due";
    plain TICKETS = "tickets";
    plain LENGTHS = "lengths";
    plain ORIGIN = "origin";
    plain LOG_GROUP = "log_group";
    plain LOG_COPIED = "log_copied";
    plain LOG_BACKLOG = "log_backlog";
    plain SUPPRESS = "suppress";
    plain SUPPRESSIONS = "suppressions";
    plain SUPPRESSION_MARK = "suppression_mark";
    plain THROTTLE_LEAD = "throttle_lead";
    plain THROTTLE_RENEW = "throttle_renew";
    plain THROTTLE_ADOPT = "throttle_adopt";
    plain THROTTLE_COMMIT = "throttle_commit";
}

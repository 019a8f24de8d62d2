//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use clap::{Args, Parser, Subcommand, ValueEnum};
use paceline_wire::v1::ThrottleKey;

use crate::key;

/// Owns your email delivery: pacing, delivery state and exactly-once accounting in front of Amazon SES.
#[derive(Parser)]
#[command(name = "paceline", version)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) target: Target,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Which system to ask.
#[derive(Args)]
pub(crate) struct Target {
    /// Where ingest listens.
    #[arg(
        long,
        global = true,
        env = "PACELINE_INGEST",
        default_value = "http://127.0.0.1:7070",
        value_name = "URL"
    )]
    pub(crate) ingest: String,
    /// On whose behalf.
    #[arg(long, global = true, env = "PACELINE_TENANT", default_value = "demo")]
    pub(crate) tenant: String,
    /// The CAs that ingest's certificate is checked against, PEM; the system's by default.
    #[arg(long, global = true, env = "PACELINE_TLS_CA", value_name = "FILE")]
    pub(crate) tls_ca: Option<PathBuf>,
    /// A certificate to show, PEM, where ingest asks for one.
    #[arg(long, global = true, env = "PACELINE_TLS_CERTIFICATE", value_name = "FILE")]
    pub(crate) tls_certificate: Option<PathBuf>,
    /// Its private key, PEM.
    #[arg(long, global = true, env = "PACELINE_TLS_KEY", value_name = "FILE")]
    pub(crate) tls_key: Option<PathBuf>,
    /// The name that ingest's certificate must have; the host of the URL by default.
    #[arg(long, global = true, env = "PACELINE_TLS_DOMAIN", value_name = "NAME")]
    pub(crate) tls_domain: Option<String>,
    /// A file with the API key; without it the key is what PACELINE_KEY holds. There is no option for the key itself: other users
    /// of a machine see a process's arguments.
    #[arg(long, global = true, env = "PACELINE_KEY_FILE", value_name = "FILE")]
    pub(crate) key_file: Option<PathBuf>,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Starts everything on this machine: Redis, all services, and a look-alike of SES with an inbox page.
    Up(UpOptions),
    /// Hands one message over, or with --file one for each row of a file.
    Send(Box<SendOptions>),
    /// Says where a message is, and why.
    Status(MessageOptions),
    /// Calls a message back, if no sender has claimed it yet.
    Cancel(MessageOptions),
    /// Shows how much waits: per stage, lane, identity and tenant.
    Queue,
    /// Shows how the rates stand and how they came to it, and sets them by hand.
    Throttle(Box<ThrottleOptions>),
    /// Warms a new identity up: 100 recipients on its first day, twice as many each further day.
    Warmup(WarmupOptions),
}

/// Which coordinator to ask.
#[derive(Args)]
pub(crate) struct Asked {
    /// Where a throttle coordinator listens; any of them, it names the one that leads.
    #[arg(
        long,
        global = true,
        env = "PACELINE_COORDINATOR",
        default_value = "http://127.0.0.1:7071",
        value_name = "URL"
    )]
    pub(crate) coordinator: String,
}

#[derive(Args)]
pub(crate) struct ThrottleOptions {
    #[command(flatten)]
    pub(crate) asked: Asked,
    #[command(flatten)]
    pub(crate) show: ShowOptions,
    #[command(subcommand)]
    pub(crate) command: Option<ThrottleCommand>,
}

#[derive(Args, Debug, Default, PartialEq)]
pub(crate) struct ShowOptions {
    /// Only this one: PROVIDER/IDENTITY, or IDENTITY for one of SES.
    #[arg(value_parser = key::parse)]
    pub(crate) key: Option<ThrottleKey>,
    /// The senders' shares, too.
    #[arg(long)]
    pub(crate) senders: bool,
    /// As JSON, in one line.
    #[arg(long)]
    pub(crate) json: bool,
    /// Again each second, until Ctrl-C.
    #[arg(long)]
    pub(crate) watch: bool,
    /// The last minutes as a picture instead of the table; of this key, or of all (16 at most). With --json: as numbers.
    #[arg(long, value_name = "KEY", value_parser = key::parse)]
    pub(crate) plot: Option<Option<ThrottleKey>>,
}

#[derive(Subcommand)]
pub(crate) enum ThrottleCommand {
    /// Nothing of the key goes for a time.
    Pause {
        #[command(flatten)]
        by_hand: ByHand,
    },
    /// Ends pauses by hand and by bounces, and holds them back for a time.
    Resume {
        #[command(flatten)]
        by_hand: ByHand,
    },
    /// At most this much of the key goes for a time.
    Cap {
        #[command(flatten)]
        by_hand: ByHand,
        /// Recipients per second, above 0.
        rate: f64,
    },
    /// The identity's mail goes by this provider for a time.
    Route {
        #[command(flatten)]
        by_hand: ByHand,
        way: Way,
    },
    /// Takes back what was set by hand.
    Clear {
        /// PROVIDER/IDENTITY, or IDENTITY for one of SES.
        #[arg(value_parser = key::parse)]
        key: ThrottleKey,
        kind: Kind,
    },
    /// Replays what happened to a key: prints each decision with its time and reason, and fails unless the replay ends in the very
    /// state that is kept.
    Replay(ReplayOptions),
}

/// What is said of everything that is set by hand.
#[derive(Args)]
pub(crate) struct ByHand {
    /// PROVIDER/IDENTITY, or IDENTITY for one of SES.
    #[arg(value_parser = key::parse)]
    pub(crate) key: ThrottleKey,
    /// For how long, such as 90s, 1h or 2days; 1 s to 30 days.
    #[arg(long = "for", value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) lasts: Duration,
    /// The reason, for others to read.
    #[arg(long, value_name = "TEXT")]
    pub(crate) why: String,
    /// Who sets it.
    #[arg(long, value_name = "NAME", env = "USER")]
    pub(crate) who: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Way {
    Primary,
    Backup,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    Pause,
    Resume,
    Cap,
    Route,
}

#[derive(Args)]
pub(crate) struct WarmupOptions {
    #[command(flatten)]
    pub(crate) asked: Asked,
    #[command(subcommand)]
    pub(crate) command: WarmupCommand,
}

#[derive(Subcommand)]
pub(crate) enum WarmupCommand {
    /// Today is the first day.
    Start(WarmedUp),
    /// The identity is warm.
    Stop(WarmedUp),
    /// Which day it is, and what of its recipients is left.
    Status(WarmedUp),
}

#[derive(Args)]
pub(crate) struct WarmedUp {
    /// IDENTITY of SES, or PROVIDER/IDENTITY.
    #[arg(value_parser = key::parse)]
    pub(crate) identity: ThrottleKey,
}

#[derive(Args)]
pub(crate) struct ReplayOptions {
    /// PROVIDER/IDENTITY, or IDENTITY for one of SES; all keys by default.
    #[arg(value_parser = key::parse)]
    pub(crate) key: Option<ThrottleKey>,
}

#[derive(Args)]
pub(crate) struct UpOptions {
    /// Where Redis keeps its data, and where the services' settings are written.
    #[arg(long, default_value = ".run/paceline", value_name = "DIR")]
    pub(crate) data: PathBuf,
    /// The folder of templates.
    #[arg(long, default_value = "templates", value_name = "DIR")]
    pub(crate) templates: PathBuf,
    /// Where ingest listens; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7070", value_name = "ADDR")]
    pub(crate) listen: SocketAddr,
    /// Where the inbox page and the look-alike of SES listen.
    #[arg(long, default_value = "127.0.0.1:7080", value_name = "ADDR")]
    pub(crate) inbox: SocketAddr,
    /// Where the throttle coordinator listens, for `paceline throttle`; port 0 lets the system choose.
    #[arg(long, default_value = "127.0.0.1:7071", value_name = "ADDR")]
    pub(crate) coordinator: SocketAddr,
    /// The services as processes of their own instead of one; their binaries stand beside this one.
    #[arg(long)]
    pub(crate) separate: bool,
    /// How many senders, with --separate.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=16), requires = "separate")]
    pub(crate) senders: u8,
    /// Sends three example emails once everything is up.
    #[arg(long)]
    pub(crate) examples: bool,
}

#[derive(Args)]
pub(crate) struct SendOptions {
    /// The template's name.
    #[arg(required_unless_present = "file")]
    pub(crate) template: Option<String>,
    /// The recipient's address.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) to: Option<String>,
    /// The recipient's display name.
    #[arg(long, default_value = "", conflicts_with = "file")]
    pub(crate) to_name: String,
    /// The recipient's id in your system; part of the message's identity.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    pub(crate) user: Option<String>,
    /// The template's data, a JSON object; `@FILE` reads it from a file, `@-` from standard input.
    #[arg(long, default_value = "{}", value_name = "JSON")]
    pub(crate) data: String,
    /// A version of the template other than the newest.
    #[arg(long, default_value = "")]
    pub(crate) template_version: String,
    /// An idempotency key: the id is then tenant, user and key alone.
    #[arg(long, default_value = "")]
    pub(crate) key: String,
    /// transactional or bulk; the template's own by default.
    #[arg(long)]
    pub(crate) lane: Option<paceline_domain::lane::Lane>,
    /// Not before this time (RFC 3339, such as 2030-01-31T08:00:00Z).
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) send_at: Option<SystemTime>,
    /// Not after this time (RFC 3339).
    #[arg(long, value_parser = parse_time, value_name = "TIME")]
    pub(crate) expires_at: Option<SystemTime>,
    /// Another From than the template's.
    #[arg(long, default_value = "")]
    pub(crate) from: String,
    /// Takes a message up again that came to rest provably unsent.
    #[arg(long)]
    pub(crate) resubmit: bool,
    /// Waits until the message is at rest, showing each transition.
    #[arg(long, conflicts_with = "file")]
    pub(crate) wait: bool,
    #[command(flatten)]
    pub(crate) file: Option<FileOptions>,
}

#[derive(Args)]
#[group(id = "file_options")]
pub(crate) struct FileOptions {
    /// A file with a message in each row; `-` is standard input. What a row does not say, the other options say for all.
    ///
    /// JSON Lines (.jsonl): one object per line with `recipient` and `user_id`, and where wanted `display_name`, `data` (an
    /// object), `tags` (an object of strings), `key`, `template`, `template_version`, `lane`, `from`, `reply_to`, `send_at`
    /// and `expires_at`.
    ///
    /// CSV (.csv, UTF-8, commas): the header names the same fields. Any other column is a field of the template's data, a
    /// string: `name`, or `order.city` (also `data.order.city`) for a field within an object. Numbers and lists go into a column
    /// `data` as JSON. `tags.NAME` is a tag. An empty cell of a field says nothing; of the data it is an empty string.
    ///
    /// A row that is refused is reported with its line, field and reason, and the rest goes on; the exit code is then 1. Run
    /// again after a cut it sends nothing twice within the template's dedupe window: a message's id is its content, or with --key
    /// (or the row's) the tenant, the user and that key.
    #[arg(id = "file", long = "file", value_name = "FILE")]
    pub(crate) path: PathBuf,
    /// The file's format, where its name does not end with .jsonl or .csv.
    #[arg(long, requires = "file")]
    pub(crate) format: Option<Format>,
    /// Where the refused rows are reported; standard error by default.
    #[arg(long, requires = "file", value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
}

/// How a file's rows are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Jsonl,
    Csv,
}

#[derive(Args)]
pub(crate) struct MessageOptions {
    /// The message's id: 26 characters.
    pub(crate) id: String,
}

fn parse_time(text: &str) -> Result<SystemTime, humantime::TimestampError> {
    humantime::parse_rfc3339(text)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory as _, Parser as _};

    use super::{Arguments, ByHand, Command, Kind, ShowOptions, ThrottleCommand, ThrottleOptions, Way};
    use crate::key;

    fn read(line: &str) -> Result<ThrottleOptions, clap::Error> {
        let words = ["paceline", "throttle"].into_iter().chain(line.split(' '));
        let arguments = Arguments::try_parse_from(words.filter(|word| !word.is_empty()))?;
        let Command::Throttle(options) = arguments.command else {
            panic!("{line} is another command");
        };
        Ok(*options)
    }

    fn set(line: &str) -> ThrottleCommand {
        let options = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(options.show, ShowOptions::default(), "{line}");
        options.command.expect("a command")
    }

    fn is_by_hand(it: &ByHand, lasts: u64) {
        assert_eq!(key::name(&it.key), "ses/main");
        assert_eq!((it.who.as_str(), it.why.as_str()), ("ops", "test"));
        assert_eq!(it.lasts, Duration::from_secs(lasts));
    }

    #[test]
    fn the_options_do_not_contradict_each_other() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_coordinator_of_up_is_another_than_the_one_that_is_asked() {
        let coordinator = |line: &str| match Arguments::parse_from(line.split(' ')).command {
            Command::Up(options) => options.coordinator.to_string(),
            Command::Throttle(options) => options.asked.coordinator,
            Command::Warmup(options) => options.asked.coordinator,
            _ => panic!("{line} is another command"),
        };
        assert_eq!(
            coordinator("paceline up --coordinator 127.0.0.1:0"),
            "127.0.0.1:0"
        );
        let asked = "http://10.0.0.2:7071";
        for line in [
            "throttle --coordinator",
            "throttle replay --coordinator",
            "warmup status main --coordinator",
        ] {
            assert_eq!(coordinator(&format!("paceline {line} {asked}")), asked, "{line}");
        }
    }

    #[test]
    fn without_a_subcommand_the_rates_are_shown() {
        let shown = |line: &str| {
            let options = read(line).unwrap_or_else(|error| panic!("{line}: {error}"));
            assert!(options.command.is_none(), "{line}");
            options.show
        };
        assert_eq!(shown(""), ShowOptions::default());
        let main = || key::parse("main").expect("a key");
        let all = shown("main --senders --json --watch");
        assert_eq!(
            (all.key, all.senders, all.json, all.watch),
            (Some(main()), true, true, true)
        );
        assert_eq!(shown("--plot").plot, Some(None));
        assert_eq!(shown("--plot ses/main").plot, Some(Some(main())));
        assert_eq!(
            shown("--coordinator http://10.0.0.2:7071"),
            ShowOptions::default()
        );
    }

    #[test]
    fn what_is_set_says_for_how_long_why_and_by_whom() {
        let by = "--for 1h --why test --who ops";
        match set(&format!("pause main {by}")) {
            ThrottleCommand::Pause { by_hand } => is_by_hand(&by_hand, 3_600),
            _ => panic!("no pause"),
        }
        match set("resume ses/main --for 90s --why test --who ops") {
            ThrottleCommand::Resume { by_hand } => is_by_hand(&by_hand, 90),
            _ => panic!("no resume"),
        }
        match set(&format!("cap main 2.5 {by}")) {
            ThrottleCommand::Cap { by_hand, rate } => {
                is_by_hand(&by_hand, 3_600);
                assert!((rate - 2.5).abs() < f64::EPSILON);
            }
            _ => panic!("no cap"),
        }
        match set(&format!(
            "--coordinator http://10.0.0.2:7071 route main backup {by}"
        )) {
            ThrottleCommand::Route { by_hand, way } => {
                is_by_hand(&by_hand, 3_600);
                assert_eq!(way, Way::Backup);
            }
            _ => panic!("no route"),
        }
        match set("clear main route") {
            ThrottleCommand::Clear { kind, .. } => assert_eq!(kind, Kind::Route),
            _ => panic!("no clear"),
        }
        for wrong in [
            "pause main --why test --who ops",
            "pause main --for 1h --who ops",
            "pause --for 1h --why test --who ops",
            "pause main --for soon --why test --who ops",
            "cap main --for 1h --why test --who ops",
            "route main sideways --for 1h --why test --who ops",
            "clear main",
            "clear main everything",
        ] {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}

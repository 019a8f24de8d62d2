//! The arguments of `paceline throttle`.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use paceline_wire::v1::ThrottleKey;

use super::Asked;
use crate::key;

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
pub(crate) struct ReplayOptions {
    /// PROVIDER/IDENTITY, or IDENTITY for one of SES; all keys by default.
    #[arg(value_parser = key::parse)]
    pub(crate) key: Option<ThrottleKey>,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::{CommandFactory as _, Parser as _};

    use super::{ByHand, Kind, ShowOptions, ThrottleCommand, ThrottleOptions, Way};
    use crate::args::{Arguments, Command};
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

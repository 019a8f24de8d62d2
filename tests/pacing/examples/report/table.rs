//! The report's text.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use paceline_pacing::seeds;
use paceline_pacing::world::Design;

use crate::figures::{LIMIT, SENDERS, Steady, Taker, converges, fails_over, lag, rebalances, steady};

/// Of each row.
const SEEDS: u64 = 20;
/// Joins, leaves and failovers, whose 99th percentile is of interest.
const CHANGES: u64 = 100;
/// Of the worlds with faults.
const WORLDS: u64 = 10_000;
const DESIGNS: [(Design, &str); 3] = [
    (Design::Coordinated, "Paceline"),
    (
        Design::EachAnswer,
        "20 % less at each error, 5 % more at each success",
    ),
    (Design::Cubic, "AWS's adaptive retry mode"),
];

/// What `of` says of each seed, on all cores, in order.
fn over<T: Send>(seeds: u64, of: impl Fn(u64) -> T + Sync) -> Vec<T> {
    let next = AtomicU64::new(0);
    let all = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds {
                        return;
                    }
                    let it = of(seed);
                    all.lock().expect("no panic").push((seed, it));
                }
            });
        }
    });
    let mut all = all.into_inner().expect("no panic");
    all.sort_by_key(|(seed, _)| *seed);
    all.into_iter().map(|(_, it)| it).collect()
}

/// The value at this part of the sorted ones.
fn at(part: f64, values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[((sorted.len() - 1) as f64 * part).round() as usize]
}

fn median_and_worst(values: &[f64], digits: usize) -> String {
    let seconds = |value: f64| {
        if value.is_finite() {
            format!("{value:.digits$}")
        } else {
            "never".to_owned()
        }
    };
    format!("{} ({})", seconds(at(0.5, values)), seconds(at(1.0, values)))
}

pub(crate) fn report() -> String {
    let mut text = head();
    compared(&mut text);
    own(&mut text);
    text
}

fn head() -> String {
    format!(
        "# Pacing in figures\n\nMade by `make pacing-report`; what is simulated is described in `tests/pacing`. The controller, the books and the \
         senders' leases are\nthe real ones; Redis, the network and the provider are models, on a virtual clock. {SENDERS} senders want twice what a \
         provider of\n{LIMIT}/s takes (a token bucket of one second unless said otherwise), its answers take 50 to 250 ms, messages 1 to 30 ms.\n{SEEDS} \
         seeds a row; median, and the worst in brackets.\n\n"
    )
}

fn compared(text: &mut String) {
    let mut rows: Vec<Vec<String>> = vec![Vec::new(); 15];
    for (design, _) in DESIGNS {
        for (index, burst_secs, throttles) in [(0, 1.0, 0.0), (6, 10.0, 0.0), (12, 1.0, 0.01)] {
            let taker = Taker {
                burst_secs,
                throttles,
            };
            let steady: Vec<Steady> = over(SEEDS, |seed| steady(design, taker, seed));
            let of = |of: fn(&Steady) -> f64| steady.iter().map(of).collect::<Vec<f64>>();
            let utilisation = of(|it| 100.0 * it.utilisation);
            rows[index].push(format!(
                "{:.1} ({:.1})",
                at(0.5, &utilisation),
                at(0.0, &utilisation)
            ));
            rows[index + 1].push(median_and_worst(&of(|it| 100.0 * it.throttled), 2));
            rows[index + 2].push(median_and_worst(&of(|it| it.peak), 3));
            if index == 0 {
                let jain = of(|it| it.jain);
                rows[3].push(format!("{:.4} ({:.4})", at(0.5, &jain), at(0.0, &jain)));
                let of_rate: Vec<f64> = steady.iter().filter_map(|it| it.peak_of_rate).collect();
                rows[4].push(if of_rate.is_empty() {
                    "-".to_owned()
                } else {
                    median_and_worst(&of_rate, 3)
                });
            }
        }
        for (row, part) in [(9, 0.5), (10, 0.2), (11, 0.1)] {
            let times = over(SEEDS, |seed| converges(design, part, true, seed));
            rows[row].push(median_and_worst(&times, 1));
        }
    }
    let names = [
        ("steady: accepted, % of the limit", ">= 95"),
        ("steady: throttled calls, %", "<= 0.5"),
        ("steady: busiest second / limit", ""),
        ("steady: Jain's index over senders", ">= 0.99"),
        ("steady: busiest second / highest rate in force", "<= 1.10"),
        ("", ""),
        ("a bucket of 10 s: accepted, % of the limit", ">= 95"),
        ("a bucket of 10 s: throttled calls, %", "<= 0.5"),
        ("a bucket of 10 s: busiest second / limit", ""),
        ("limit halved: s until it is kept", "<= 3"),
        ("limit cut to a fifth: s", "<= 7"),
        ("limit cut to a tenth: s", "<= 12"),
        ("1 % throttled by chance: accepted, % of the limit", ">= 95"),
        ("1 % throttled by chance: throttled calls, %", ""),
        ("1 % throttled by chance: busiest second / limit", ""),
    ];
    let heads: Vec<&str> = DESIGNS.iter().map(|(_, name)| *name).collect();
    let _ = writeln!(
        text,
        "| | target | {} |\n|---|---|---|---|---|",
        heads.join(" | ")
    );
    for ((name, target), row) in names.iter().zip(&rows) {
        if !name.is_empty() {
            let _ = writeln!(text, "| {name} | {target} | {} |", row.join(" | "));
        }
    }
    text.push_str(
        "\nA limit is kept from the moment on after which each second of the next three offers at most a tenth more. The steady minute begins \
         after\n90 s. The provider's bucket is not empty when its limit falls: for up to a second more nothing is refused, and nobody could know. From \
         there a\ntwentieth refused cuts at once, and more each second after that: by 20 %, or down to what the provider takes, at most by half.\n\n![The limit halved](pacing/halved.svg)\n\n![The limit cut to a tenth](pacing/tenth.svg)\n\n",
    );
}

fn own(text: &mut String) {
    let broken = over(WORLDS, |seed| seeds::run(seed).is_err());
    let broken = broken.into_iter().filter(|it| *it).count();
    let changes = over(CHANGES, rebalances);
    let joins: Vec<f64> = changes.iter().map(|[joined, _]| *joined).collect();
    let leaves: Vec<f64> = changes.iter().map(|[_, left]| *left).collect();
    let failovers = over(CHANGES, fails_over);
    let again: Vec<f64> = failovers.iter().map(|[again, _]| *again).collect();
    let silent: Vec<f64> = failovers.iter().map(|[_, silent]| *silent).collect();
    let lag_with = over(SEEDS, |seed| lag(true, seed));
    let lag_without = over(SEEDS, |seed| lag(false, seed));
    let halved = over(SEEDS, |seed| converges(Design::Coordinated, 0.5, false, seed));
    let p99 = |values: &[f64]| {
        format!(
            "{:.2}, p99 {:.2}, worst {:.2}",
            at(0.5, values),
            at(0.99, values),
            at(1.0, values)
        )
    };
    let _ = write!(
        text,
        "## Paceline alone\n\n| | target | |\n|---|---|---|\n\
         | worlds with faults in which an invariant broke, of {WORLDS} | 0 | {broken} |\n\
         | five senders join 20: s until all hold their share ({CHANGES} times) | p99 <= 1.5 | {} |\n\
         | five leave: s ({CHANGES} times) | p99 <= 1.5 | {} |\n\
         | leader killed: s until another's leases are held ({CHANGES} times) | <= 4 | {} |\n\
         | leader killed: longest time without a send, s | <= 4 | {} |\n\
         | longest time that more is held than the rate after a cut, s | <= 2 | {} |\n\
         | the same with every broadcast lost, s | <= 2 | {} |\n\
         | limit halved with every broadcast lost: s until it is kept | | {} |\n\n\
         The invariants are the functions in `controller::invariants`; that no window has more sends than the rates in force within a lease's \
         time\nand the bursts allow is the second. In the rows of leaders and senders they are looked at as well.\n",
        p99(&joins),
        p99(&leaves),
        p99(&again),
        p99(&silent),
        median_and_worst(&lag_with, 2),
        median_and_worst(&lag_without, 2),
        median_and_worst(&halved, 1),
    );
}

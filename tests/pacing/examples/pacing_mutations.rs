//! Breaks the pacing's code in a copy of the repository, one rule at a time. Each time a test must fail, and say what is broken.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Worlds for each mutation.
const SEEDS: &str = "1000";

/// One change of the code that breaks an invariant.
struct Mutation {
    invariant: u8,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// One of these is in what the tests say.
    told_by: &'static [&'static str],
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        invariant: 1,
        file: "crates/domain/src/lease/books.rs",
        from: "let free = (for_leases - others).max(0.0);",
        to: "let free = for_leases + others * 0.0;",
        told_by: &["senders hold"],
    },
    Mutation {
        invariant: 1,
        file: "crates/domain/src/lease/books.rs",
        from: "(self.rate - self.safes.kept_back(self.rate)).max(0.0)",
        to: "self.rate",
        told_by: &["senders hold", "while a leader learns"],
    },
    Mutation {
        invariant: 12,
        file: "crates/domain/src/lease/sender.rs",
        from: "self.rate > 0.0 && now < self.until && self.looked_at.is_some_and(is_fresh)",
        to: "self.rate > 0.0 && now < self.until && self.looked_at.is_none_or(|at| is_fresh(at + SAFE_LOOK * 30))",
        told_by: &["senders hold", "after a pause", "while a leader learns"],
    },
    Mutation {
        invariant: 1,
        file: "crates/domain/src/lease/sender.rs",
        from: "if self.asked_at != Some(asked_at) {",
        to: "if self.asked_at.is_none() {",
        told_by: &["senders hold"],
    },
    Mutation {
        invariant: 2,
        file: "crates/domain/src/gcra.rs",
        from: "let missing = burst - level.min(burst);",
        to: "let missing = 0.0 * level;",
        told_by: &["were sent within"],
    },
    Mutation {
        invariant: 3,
        file: "crates/domain/src/controller/steps.rs",
        from: "if rate(allowed) < rate(before) {",
        to: "if rate(allowed) < 0.0 {",
        told_by: &["an_account_that_allows_less_ends_safe_rates_though_the_key_s_rate_stays ... FAILED"],
    },
    Mutation {
        invariant: 3,
        file: "crates/domain/src/controller/account.rs",
        from: "let left = (outstanding + free.min(0.0) + more).max(0.0);",
        to: "let left = (outstanding + free.max(0.0) + more).max(0.0);",
        told_by: &["all_identities_together_never_hold_more_than_the_account_allows ... FAILED"],
    },
    Mutation {
        invariant: 3,
        file: "crates/domain/src/controller/account.rs",
        from: "let left = (outstanding + free.min(0.0) + more).max(0.0);",
        to: "let left = outstanding + free.max(0.0) + more;",
        told_by: &["identities hold"],
    },
    Mutation {
        invariant: 3,
        file: "crates/throttle-coordinator/src/desk/accounts.rs",
        from: "let may_grow = all_known || paced.books.is_learning(now);",
        to: "let may_grow = all_known || now >= now;",
        told_by: &[
            "what_keys_that_are_not_open_may_hold_is_given_to_nobody_after_a_change_of_leaders ... FAILED",
        ],
    },
    Mutation {
        invariant: 4,
        file: "crates/domain/src/lease/sender.rs",
        from: "if (grant.epoch, grant.version) < (self.epoch, self.version) {",
        to: "if grant.epoch + 9 < self.epoch {",
        told_by: &["came after"],
    },
    Mutation {
        invariant: 5,
        file: "crates/domain/src/aimd.rs",
        from: "if now >= self.window.start + self.feedback_window() || self.is_lost(measured, now) {",
        to: "if now >= self.window.start + self.feedback_window() / 3 || self.is_lost(measured, now) {",
        told_by: &["two cuts within"],
    },
    Mutation {
        invariant: 5,
        file: "crates/domain/src/aimd.rs",
        from: "if self.limits.mode == Mode::Static || is_cut_lately {",
        to: "if self.limits.mode == Mode::Static || is_cut_lately && false {",
        told_by: &["two cuts within"],
    },
    Mutation {
        invariant: 5,
        file: "crates/domain/src/aimd.rs",
        from: "            .clamp(self.limits.bottom(), self.rate);\n        self.plateau",
        to: "            .min(self.rate);\n        self.plateau",
        told_by: &["is not within", "Bounds {"],
    },
    Mutation {
        invariant: 5,
        file: "crates/domain/src/aimd/noise.rs",
        from: "            most.min(SHARE_MAX)\n",
        to: "            most\n",
        told_by: &["is taken for noise", "Noise("],
    },
    Mutation {
        invariant: 5,
        file: "crates/domain/src/aimd/noise.rs",
        from: "if self.cut_at.is_some_and(|sent| rate <= BELOW * sent) {",
        to: "if self.cut_at.is_some_and(|sent| rate <= 9.0 * sent) {",
        told_by: &["of a limit alone is taken for noise", "of all calls were refused"],
    },
    Mutation {
        invariant: 5,
        file: "crates/domain/src/aimd/noise.rs",
        from: "count(throttled) >= expected + DEVIATIONS * expected.sqrt() + more",
        to: "count(throttled) >= expected * 0.0 + more",
        told_by: &["of what the limit leaves was taken"],
    },
    Mutation {
        invariant: 6,
        file: "crates/domain/src/lease/sender.rs",
        from: "if !self.is_live(now) || !is_newer || leaps || !(0.0..=1.0).contains(&ratio) {",
        to: "let ratio = 2.0 - ratio;\n        if !self.is_live(now) || !is_newer || leaps {",
        told_by: &["raised a lease"],
    },
    Mutation {
        invariant: 7,
        file: "crates/domain/src/lease/share.rs",
        from: "shares[index] = wants[index].max(0.0).min(equal);",
        to: "shares[index] = wants[index].max(0.0).min(0.9 * equal);",
        told_by: &["is not the fair"],
    },
    Mutation {
        invariant: 8,
        file: "crates/domain/src/lease/books.rs",
        from: "let allowed = if self.is_learning(now) {",
        to: "let allowed = if self.is_learning(now) && has < 0.0 {",
        told_by: &["while a leader learns"],
    },
    Mutation {
        invariant: 8,
        file: "crates/domain/src/lease/books.rs",
        from: "learning_until: elected_at + in_books(TTL),",
        to: "learning_until: elected_at + 2 * in_books(TTL),",
        told_by: &["while a leader learns"],
    },
    Mutation {
        invariant: 8,
        file: "tests/pacing/src/redis.rs",
        from: "kept.fits = kept.table_rev == Some(kept.rev) && kept.run == self.run && !is_behind;",
        to: "kept.fits = kept.table_rev == Some(kept.rev) && !is_behind;",
        told_by: &["senders hold", "while a leader learns"],
    },
    Mutation {
        invariant: 9,
        file: "crates/domain/src/controller/quota.rs",
        from: "let used = self.used(now).saturating_add(outstanding);",
        to: "let used = self.used(now).saturating_add(outstanding / 1_000);",
        told_by: &["were sent within a day"],
    },
    Mutation {
        invariant: 10,
        file: "crates/domain/src/controller/steps.rs",
        from: "        self.warm(warm_up::Event::Spent(n));\n        self.break_with",
        to: "        self.break_with",
        told_by: &["a_warm_up_hands_out_a_tenth_at_a_time_and_overflows_when_its_day_is_used ... FAILED"],
    },
    Mutation {
        invariant: 11,
        file: "crates/domain/src/controller/breaker.rs",
        from: "State::HalfOpen { probe, .. } => probe.holder == Some(holder) && !probe.revoked,",
        to: "State::HalfOpen { .. } => true,",
        told_by: &["one_sender_alone_probes_with_twenty ... FAILED"],
    },
    Mutation {
        invariant: 12,
        file: "crates/domain/src/controller/steps.rs",
        from: "(stop(self.overrides.is_paused()), LimitedBy::Paused),",
        to: "(self.overrides.is_paused().then_some(0.5), LimitedBy::Paused),",
        told_by: &["after a pause"],
    },
    Mutation {
        invariant: 12,
        file: "crates/domain/src/lease/sender.rs",
        from: "        now < self.deadline\n",
        to: "        now < self.deadline + std::time::Duration::from_secs(3)\n",
        told_by: &["senders hold", "after a pause", "while a leader learns"],
    },
    Mutation {
        invariant: 13,
        file: "tests/pacing/src/redis.rs",
        from: "pub const LEAD_MS: u64 = 3_000;",
        to: "pub const LEAD_MS: u64 = 6_000;",
        told_by: &["nobody led", "nobody leads"],
    },
    Mutation {
        invariant: 14,
        file: "crates/domain/src/controller/steps.rs",
        from: "    pub(super) fn bounced(&mut self, n: u64) {\n",
        to: "    pub(super) fn bounced(&mut self, n: u64) {\n        let n = n + u64::from(std::time::Instant::now().elapsed().subsec_nanos() % 2);\n",
        told_by: &["the_rules_hold_together_over_any_history ... FAILED"],
    },
];

fn main() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = repository.join("target/mutations");
    // Of its own: no broken code lies where sound code is looked for.
    let target = tree.join("target");
    copy(&repository, &tree);
    check_list(&tree);
    for package in [
        "paceline-pacing",
        "paceline-domain",
        "paceline-throttle-coordinator",
    ] {
        let (passes, said) = test(&tree, &target, package);
        assert!(passes, "without a mutation the tests pass:\n{said}");
    }
    let mut missed = 0;
    for Mutation {
        invariant,
        file,
        from,
        to,
        told_by,
    } in MUTATIONS
    {
        let path = tree.join(file);
        let code = fs::read_to_string(&path).expect("readable");
        fs::write(&path, code.replace(from, to)).expect("writable");
        let by_unit_test = told_by.iter().any(|text| text.ends_with("FAILED"));
        let package = match by_unit_test {
            true if file.starts_with("crates/domain/") => "paceline-domain",
            true => "paceline-throttle-coordinator",
            false => "paceline-pacing",
        };
        let (passes, said) = test(&tree, &target, package);
        fs::write(&path, code).expect("writable");
        let verdict = match told_by.iter().find(|text| said.contains(**text)) {
            _ if said.contains("could not compile") => "DOES NOT COMPILE",
            Some(text) if !passes => text,
            _ if !passes => "FOUND, BY ANOTHER NAME",
            _ => "MISSED",
        };
        missed += u32::from(verdict.chars().all(|letter| !letter.is_lowercase()));
        println!("{invariant:>2}  {verdict:<40}  {}", to.trim());
    }
    println!("{} mutations, {missed} not found", MUTATIONS.len());
    std::process::exit(i32::from(missed > 0));
}

/// Panics unless each mutation has its one place in the code.
fn check_list(tree: &Path) {
    for Mutation { file, from, .. } in MUTATIONS {
        let code = fs::read_to_string(tree.join(file)).expect("readable");
        assert_eq!(code.matches(from).count(), 1, "{file} has once: {from}");
    }
}

/// What git knows of, as it is now.
fn copy(from: &Path, to: &Path) {
    let listed = Command::new("git")
        .arg("ls-files")
        .current_dir(from)
        .output()
        .expect("git runs");
    let files = String::from_utf8(listed.stdout).expect("names are UTF-8");
    for file in files.lines() {
        let (source, copy): (PathBuf, PathBuf) = (from.join(file), to.join(file));
        let Ok(content) = fs::read(&source) else { continue };
        // What is the same keeps its time, so that it is not built again.
        if fs::read(&copy).is_ok_and(|known| known == content) {
            continue;
        }
        fs::create_dir_all(copy.parent().expect("in the tree")).expect("writable");
        fs::write(&copy, content).expect("writable");
    }
}

/// Whether a package's tests pass, and what they say: the simulation's worlds, or unit tests. Tests that hang are killed.
fn test(tree: &Path, target: &Path, package: &str) -> (bool, String) {
    let tests: &[&str] = match package {
        "paceline-pacing" => &["--test", "seeds", "whatever"],
        _ => &["--lib"],
    };
    let output = Command::new("timeout")
        .args([
            "600",
            env!("CARGO"),
            "test",
            "--locked",
            "--offline",
            "--package",
            package,
        ])
        .args(tests)
        .env("CARGO_TARGET_DIR", target)
        .env("PACING_SEEDS", SEEDS)
        .current_dir(tree)
        .output()
        .expect("cargo runs");
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    (output.status.success(), said.concat())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::{MUTATIONS, check_list};

    #[test]
    fn each_mutation_has_its_place_and_each_invariant_a_mutation() {
        check_list(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../.."));
        for invariant in 1..=14 {
            assert!(
                MUTATIONS.iter().any(|it| it.invariant == invariant),
                "none breaks {invariant}"
            );
        }
    }
}

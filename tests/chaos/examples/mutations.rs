//! Breaks the way of a message in a copy of the repository, one promise at a time, builds it, and runs a row of the suite there: it must
//! fail, and say what is broken.
//!
//! The copy has a target folder of its own, so that no broken binary ever lies where a good one is looked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// One change of the code that breaks a promise.
struct Mutation {
    what: &'static str,
    file: &'static str,
    from: &'static str,
    to: &'static str,
    /// The rows that must see it, by a part of their name.
    fault: &'static str,
    /// What the checker calls it.
    told_by: &'static str,
}

const MUTATIONS: &[Mutation] = &[
    Mutation {
        what: "acknowledge before send",
        file: "crates/store/src/lua/claim.lua",
        from: "move(i, id, r, SENDING, 0, NOW + lease)",
        to: "move(i, id, r, ACCEPTED, 0)",
        fault: "kill -9: sender after claim",
        told_by: "NeverSent",
    },
    Mutation {
        what: "retry on a timeout",
        file: "crates/sender/src/outcome.rs",
        from: "            Outcome::Unknown { reason }\n",
        to: "            Outcome::Deferred { reason, delay: by_attempts }\n",
        fault: "takes and never answers",
        told_by: "Twice",
    },
    Mutation {
        what: "a missing fence: a claim of a second copy",
        file: "crates/store/src/lua/claim.lua",
        from: "elseif r[STATE] ~= QUEUED then",
        to: "elseif r[STATE] == DEAD then",
        fault: "kill -9: renderer after XADD",
        told_by: "Twice",
    },
    Mutation {
        what: "acknowledge the log before the ledger has it",
        file: "crates/feedback/src/copy.rs",
        from: "            match self.write(&part).await {\n",
        to: "            self.acknowledge(&part).await;\n            match self.write(&part).await {\n",
        fault: "kill -9: feedback after log_copied",
        told_by: "LedgerDiffers",
    },
];

fn main() {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let tree = repository.join("target/chaos-mutations");
    copy(&repository, &tree);
    let mut missed = 0;
    for mutation in MUTATIONS {
        let (passes, said) = rows(&tree, mutation.fault);
        assert!(passes, "without the mutation the row passes:\n{said}");
        let path = tree.join(mutation.file);
        let code = fs::read_to_string(&path).expect("readable");
        assert_eq!(
            code.matches(mutation.from).count(),
            1,
            "{} has once: {}",
            mutation.file,
            mutation.from
        );
        fs::write(&path, code.replace(mutation.from, mutation.to)).expect("writable");
        let (passes, said) = rows(&tree, mutation.fault);
        fs::write(&path, code).expect("writable");
        let verdict = if said.contains("could not compile") {
            "DOES NOT COMPILE"
        } else if !passes && said.contains(mutation.told_by) {
            mutation.told_by
        } else if passes {
            "MISSED"
        } else {
            "FOUND, BY ANOTHER NAME"
        };
        if verdict != mutation.told_by {
            missed += 1;
            println!("{said}");
        }
        println!("{verdict:<24}  {}", mutation.what);
    }
    println!("{} mutations, {missed} not found", MUTATIONS.len());
    std::process::exit(i32::from(missed > 0));
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

/// Whether the rows of that name are right on a single Redis, and what they say.
fn rows(tree: &Path, fault: &str) -> (bool, String) {
    let (built, said) = cargo(tree, &["build", "--locked", "--workspace", "--bins"]);
    if !built {
        return (false, said);
    }
    let example = ["--package", "paceline-chaos", "--example", "chaos", "--"];
    cargo(
        tree,
        &[&["run", "--locked"], &example[..], &["ground", "fsync", fault]].concat(),
    )
}

fn cargo(tree: &Path, arguments: &[&str]) -> (bool, String) {
    let output = Command::new(env!("CARGO"))
        .args(arguments)
        .env("CARGO_TARGET_DIR", tree.join("target"))
        .current_dir(tree)
        .output()
        .expect("cargo runs");
    let said = [output.stdout, output.stderr].map(|it| String::from_utf8_lossy(&it).into_owned());
    (output.status.success(), said.concat())
}

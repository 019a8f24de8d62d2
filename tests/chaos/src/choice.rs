//! Which parts of the suite are to be run.

use anyhow::{Context as _, ensure};

use crate::site::Ground;

/// One part, which adds to the page for itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    Ground(Ground),
    Chance,
    BullMq,
}

impl Choice {
    /// In the order in which they are run.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let grounds = Ground::ALL.into_iter().map(Self::Ground);
        grounds.chain([Self::Chance, Self::BullMq]).collect()
    }

    /// By which people choose it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ground(ground) => ground.name(),
            Self::Chance => "chance",
            Self::BullMq => "BullMQ",
        }
    }

    /// The parts that a text names, with semicolons between them, since the names of grounds have commas; all for an empty text.
    ///
    /// # Errors
    /// If it names one that is none.
    pub fn of(text: &str) -> anyhow::Result<Vec<Self>> {
        if text.trim().is_empty() {
            return Ok(Self::all());
        }
        let mut chosen = Vec::new();
        for name in text.split(';').map(str::trim) {
            let choice = Self::all()
                .into_iter()
                .find(|choice| choice.name().eq_ignore_ascii_case(name))
                .with_context(|| format!("there is no part {name:?}: {}", Self::names()))?;
            ensure!(!chosen.contains(&choice), "{name:?} is named twice");
            chosen.push(choice);
        }
        Ok(chosen)
    }

    fn names() -> String {
        let names: Vec<_> = Self::all().into_iter().map(Self::name).collect();
        names.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::Choice;
    use crate::site::Ground;

    #[test]
    fn parts_are_chosen_by_their_names() {
        assert_eq!(Choice::of(" ").expect("all"), Choice::all());
        assert_eq!(
            Choice::of("replicated, Sentinel; bullmq").expect("two"),
            [Choice::Ground(Ground::ReplicatedPair), Choice::BullMq]
        );
        for wrong in ["fsync;", "nowhere", "fsync; fsync"] {
            assert!(Choice::of(wrong).is_err(), "{wrong}");
        }
        let told = Choice::of("nowhere").expect_err("no part").to_string();
        assert!(told.contains("replicated, Cluster; chance; BullMQ"), "{told}");
    }
}

//! What a world begins with.

use paceline_domain::controller::Settings;
use paceline_domain::lease::Reserve;

/// Which designs pace the senders.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Design {
    Coordinated,
    EachAnswer,
    Cubic,
}

/// What a world begins with.
#[derive(Clone, Debug)]
pub struct Plan {
    pub design: Design,
    pub settings: Settings,
    pub provider: crate::provider::Settings,
    pub wants: Vec<f64>,
    /// How many identities share the senders, each its own.
    pub identities: usize,
    /// What all of them may send together, in recipients per second.
    pub account: Option<f64>,
    /// What is kept back for senders that reach Redis, but no coordinator.
    pub reserve: Reserve,
    /// Whether messages get lost, doubled and late.
    pub bad_network: bool,
    pub broadcasts: bool,
    pub warm_up: bool,
    /// Whether Redis may lose what it has.
    pub losses: bool,
    /// The longest pause between two faults, in milliseconds.
    pub fault_pause: u64,
}

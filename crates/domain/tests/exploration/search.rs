//! Breadth first through all worlds, so that the first violation found has the shortest path.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::hash::{BuildHasherDefault, Hasher};

use paceline_domain::record::DoubtPolicy;
use paceline_domain::time::Millis;

use crate::moves::{Next, Rules, Violation};
use crate::version::{LATER, Version};
use crate::world::{Slot, World};

/// Mixes a packed world; the default hasher would take most of the test's time.
#[derive(Default)]
pub(crate) struct Mix(u64);

impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, _bytes: &[u8]) {
        unreachable!("worlds are hashed as one number");
    }

    fn write_u128(&mut self, bits: u128) {
        let folded = (bits as u64) ^ ((bits >> 64) as u64).rotate_left(29);
        self.0 = folded
            .wrapping_mul(0x9e37_79b9_7f4a_7c15)
            .rotate_left(26)
            .wrapping_mul(0xd6e8_feb8_6659_fd93);
    }
}

/// A violation and the way there.
pub(crate) struct Found {
    pub(crate) violation: Violation,
    pub(crate) moves: usize,
    pub(crate) path: String,
}

/// All that was reached.
pub(crate) struct Reached {
    pub(crate) worlds: usize,
    pub(crate) moves: usize,
    pub(crate) deepest: usize,
}

#[derive(Default)]
struct Graph {
    index: HashMap<u128, u32, BuildHasherDefault<Mix>>,
    keys: Vec<u128>,
    parents: Vec<u32>,
    depths: Vec<u16>,
    /// From, to: moves that the system makes by itself.
    progress: Vec<(u32, u32)>,
}

const ROOT: u32 = u32::MAX;

impl Graph {
    fn add(&mut self, world: &World, parent: u32) -> u32 {
        let key = world.key();
        let next = self.keys.len() as u32;
        let index = *self.index.entry(key).or_insert(next);
        if index == next {
            self.keys.push(key);
            self.parents.push(parent);
            let depth = if parent == ROOT {
                0
            } else {
                self.depths[parent as usize] + 1
            };
            self.depths.push(depth);
        }
        index
    }

    fn at(&self, index: u32) -> World {
        World::unpack(self.keys[index as usize])
    }
}

/// Explores until one of `wanted` is found, or all has been reached without.
pub(crate) fn explore(rules: &mut Rules, wanted: &[Violation]) -> Result<Reached, Box<Found>> {
    let mut graph = Graph::default();
    for root in roots(rules.policy) {
        graph.add(&root, ROOT);
    }
    let mut next = Vec::new();
    let mut moves = 0;
    let mut at = 0;
    while (at as usize) < graph.keys.len() {
        let world = graph.at(at);
        next.clear();
        rules.next(&world, &mut next);
        moves += next.len();
        for step in &next {
            if let Some(violation) = step.violation.filter(|found| is_wanted(*found, wanted)) {
                return Err(Box::new(shown(rules, &graph, at, violation)));
            }
            let to = graph.add(&step.world, at);
            if step.chosen.is_progress() && to != at {
                graph.progress.push((at, to));
            }
        }
        at += 1;
    }
    if wanted.contains(&Violation::Stuck)
        && let Some(stuck) = first_stuck(&graph)
    {
        return Err(Box::new(shown(rules, &graph, stuck, Violation::Stuck)));
    }
    Ok(Reached {
        worlds: graph.keys.len(),
        moves,
        deepest: graph.depths.last().copied().unwrap_or_default().into(),
    })
}

fn roots(policy: DoubtPolicy) -> [World; 2] {
    [Millis(0), LATER].map(|send_at| World::new(Version::first(policy, send_at)))
}

/// One broken invariant stands for all.
fn is_wanted(violation: Violation, wanted: &[Violation]) -> bool {
    let broken = |violation: &Violation| matches!(violation, Violation::Broken(_));
    wanted.contains(&violation) || (broken(&violation) && wanted.iter().any(broken))
}

/// The first world from which the system by itself never brings the message to rest.
fn first_stuck(graph: &Graph) -> Option<u32> {
    let count = graph.keys.len();
    let mut starts = vec![0_u32; count + 1];
    for &(_, to) in &graph.progress {
        starts[to as usize + 1] += 1;
    }
    for at in 0..count {
        starts[at + 1] += starts[at];
    }
    let mut filled = starts.clone();
    let mut from = vec![0_u32; graph.progress.len()];
    for &(before, to) in &graph.progress {
        let place = &mut filled[to as usize];
        from[*place as usize] = before;
        *place += 1;
    }
    let mut rests: Vec<bool> = (0..count as u32)
        .map(|at| graph.at(at).version().state().at_rest())
        .collect();
    let mut open: Vec<u32> = (0..count as u32).filter(|&at| rests[at as usize]).collect();
    while let Some(at) = open.pop() {
        let (first, end) = (starts[at as usize], starts[at as usize + 1]);
        for &before in &from[first as usize..end as usize] {
            if !rests[before as usize] {
                rests[before as usize] = true;
                open.push(before);
            }
        }
    }
    rests.iter().position(|rests| !rests).map(|at| at as u32)
}

/// Walks the way again with the senders' own names: a key stands for worlds that differ by them.
fn shown(rules: &mut Rules, graph: &Graph, last: u32, violation: Violation) -> Found {
    let mut keys = Vec::new();
    let mut at = last;
    while at != ROOT {
        keys.push(graph.keys[at as usize]);
        at = graph.parents[at as usize];
    }
    keys.reverse();
    let root = roots(rules.policy).into_iter().find(|root| root.key() == keys[0]);
    let mut world = root.expect("the path starts with a root");
    let mut path = line(0, "accepted by ingest", &world);
    let mut next = Vec::new();
    for (count, key) in keys.iter().enumerate().skip(1) {
        next.clear();
        rules.next(&world, &mut next);
        let step = next.iter().find(|step| step.world.key() == *key);
        let step = step.expect("each key follows from the one before");
        path += &line(count, &format!("{:?}", step.chosen), &step.world);
        world = step.world;
    }
    let mut moves = keys.len() - 1;
    next.clear();
    rules.next(&world, &mut next);
    if let Some(Next { chosen, world, .. }) = next.iter().find(|step| step.violation == Some(violation)) {
        moves += 1;
        path += &line(moves, &format!("{chosen:?}"), world);
    }
    Found {
        violation,
        moves,
        path,
    }
}

fn line(count: usize, what: &str, world: &World) -> String {
    let version = world.version();
    let mut line = format!(
        "{count:>3}. {what:<60} {} attempt {} generation {} sent {}",
        version.state(),
        version.attempt(),
        version.generation(),
        world.sends
    );
    for (name, slot) in ["A", "B"].iter().zip(world.slots) {
        if slot != Slot::Idle {
            write!(line, ", {name} {slot:?}").expect("writing to a string");
        }
    }
    line + "\n"
}

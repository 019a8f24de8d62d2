//! What holds over any history.

use proptest::prelude::*;

use super::*;

fn events() -> impl Strategy<Value = Event> {
    let holder = || prop_oneof![Just(A), Just(B)];
    let count = || 0_u64..120;
    let counts = || {
        (
            count(),
            count(),
            0_u64..20,
            prop::collection::vec((0_u64..20, 0_u64..20), 0..3),
        )
            .prop_map(|(sent, accepted, failed, throttled)| Counts {
                sent,
                accepted,
                failed,
                throttled,
            })
    };
    let said = || {
        (count(), count(), 0_u64..1_000).prop_map(|(granted_total, spent_total, sequence)| Said {
            sequence,
            granted_total,
            spent_total,
        })
    };
    let daily = || {
        prop_oneof![
            Just(DailySend::Unlimited),
            (0_u64..3_000).prop_map(DailySend::Limited)
        ]
    };
    let action = prop_oneof![
        Just(Action::Pause),
        Just(Action::Resume),
        (0.0_f64..800.0).prop_map(|rate| Action::Cap { rate }),
        Just(Action::Route(Way::Backup)),
    ];
    let refused = || prop::option::weighted(0.2, prop_oneof![Just(31_u16), Just(33), Just(999)]);
    prop_oneof![
            6 => (holder(), counts(), said(), 0_u64..20, any::<bool>(), any::<bool>(), refused()).prop_map(
                |(holder, counts, said, has_version, wants, idle, refused)| Event::Asked(Asked {
                    holder, counts, said, has_version, wants, idle, refused, warm_up: None,
                })
            ),
            4 => (holder(), 0.0_f64..500.0).prop_map(|(holder, rate)| Event::Leased { holder, rate }),
            1 => (holder(), counts(), said()).prop_map(|(holder, counts, said)| Event::Left { holder, counts, said }),
            1 => (0_u64..6).prop_map(Event::Bounced),
            1 => (prop::option::of(0.0_f64..900.0), daily(), 0_u64..3_000, prop::bool::weighted(0.9)).prop_map(
                |(max_send_rate, daily, sent_last_24_hours, enabled)| Event::Account(Account {
                    max_send_rate, daily, sent_last_24_hours, enabled,
                })
            ),
            1 => (0_u64..90, 0_u64..90).prop_map(|(spent, outstanding)| Event::Siblings { spent, outstanding }),
            1 => (action, 0_u64..100_000).prop_map(|(action, until)| by_hand(action, until)),
            1 => prop_oneof![Just(Kind::Pause), Just(Kind::Cap)].prop_map(Event::Cleared),
            1 => Just(Event::WarmUp(Overflow::To("warm".to_owned()))),
            1 => Just(Event::Warm),
            1 => daily().prop_map(|daily| Event::Settings(Settings { daily, ..SETTINGS })),
            8 => (0.0_f64..900.0, 0.0_f64..1.0).prop_map(|(measured, random)| Event::Tick(Tick {
                measured, taken: Some(0.9 * measured), random,
    ..Tick::default()
    })),
        ]
}

proptest! {
    /// Any history: the state is sound, versions never fall, whatever changes in what is in force is a decision with a reason, a
    /// lower rate has a higher version, and the journal, written and read, replays to the same state.
    #[test]
    fn the_rules_hold_together_over_any_history(
        history in prop::collection::vec((events(), prop_oneof![9 => 0_u64..700, 1 => 0_u64..50_000_000]), 0..120),
        leader_changes_at in 0_usize..120,
    ) {
        let mut controller = new(SETTINGS);
        let mut journal = vec![Entry::Opened(Box::new(controller.clone()))];
        let mut now = 0;
        for (index, (event, wait)) in history.into_iter().enumerate() {
            now += wait;
            if index == leader_changes_at {
                let settings = *controller.settings();
                controller = controller.reopened(settings, at(now));
                journal.push(Entry::Opened(Box::new(controller.clone())));
            }
            let (before, version) = (controller.in_force(), controller.version());
            let decisions = controller.step(&event, at(now));
            journal.push(Entry::Happened { at: at(now), event });
            prop_assert_eq!(invariants::controller_is_sound(&controller), Ok(()));
            prop_assert!(decisions.len() <= 16 && decisions.iter().all(|it| !it.reason().is_empty()), "{decisions:?}");
            let after = controller.in_force();
            let says_so = decisions.iter().any(|it| matches!(it, Decision::Rate { .. }));
            prop_assert_eq!(says_so, before != after);
            prop_assert!(controller.version() >= version);
            prop_assert!(after.rate >= before.rate || controller.version() > version);
        }
        let text = serde_json::to_string(&journal).expect("writable");
        let read: Vec<Entry> = serde_json::from_str(&text).expect("readable");
        let replayed = replay(&read).expect("begins");
        prop_assert_eq!(invariants::replays(&controller, &replayed), Ok(()));
    }
}

//! What senders remember of a warm-up for a leader whose memory is lost.

use super::*;
use crate::controller::warm_up::Word;

const TODAY: u64 = START / 86_400;

fn says(controller: &mut Controller, first_day: u64, level: Option<u32>) {
    let asked = Asked {
        warm_up: Some(Word {
            first_day,
            level,
            overflow_to: None,
        }),
        ..asked(A, 0, 0)
    };
    controller.step(&Event::Asked(asked), at(10));
}

fn cap(controller: &Controller) -> Option<u64> {
    controller.warm_up().map(|it| it.cap())
}

#[test]
fn a_lost_warm_up_goes_on_where_senders_know_that_it_was() {
    let mut controller = new(SETTINGS);
    says(&mut controller, TODAY - 5, Some(3));
    assert_eq!(cap(&controller), Some(800));
    assert_eq!(controller.warm_up_began(), Some(TODAY - 5));
    let word = controller.warm_up_word().expect("there is one");
    assert_eq!((word.first_day, word.level), (TODAY - 5, Some(3)));
}

#[test]
fn the_settings_may_have_begun_it_anew_before() {
    let mut controller = new(SETTINGS);
    controller.step(&Event::WarmUp(Overflow::Defer), at(0));
    says(&mut controller, TODAY - 5, Some(3));
    says(&mut controller, TODAY - 5, Some(1));
    assert_eq!(
        (cap(&controller), controller.warm_up_began()),
        (Some(800), Some(TODAY - 5))
    );
}

#[test]
fn no_word_is_believed_beyond_its_days() {
    let mut controller = new(SETTINGS);
    says(&mut controller, TODAY + 1, Some(3));
    assert_eq!(cap(&controller), None, "tomorrow");
    says(&mut controller, TODAY - 2, Some(30));
    assert_eq!(cap(&controller), Some(400));
}

#[test]
fn one_that_had_ended_is_not_begun_again() {
    let mut controller = new(SETTINGS);
    controller.step(&Event::WarmUp(Overflow::Defer), at(0));
    says(&mut controller, TODAY - 9, None);
    assert_eq!(cap(&controller), None);
    assert_eq!(controller.warm_up_began(), Some(TODAY - 9));
}

#[test]
fn what_people_have_stopped_stays_so() {
    let mut controller = new(SETTINGS);
    controller.step(&Event::WarmUp(Overflow::Defer), at(0));
    controller.step(&Event::Warm, at(1));
    says(&mut controller, TODAY - 5, Some(3));
    assert_eq!(
        (cap(&controller), controller.warm_up_began()),
        (None, Some(TODAY))
    );
}

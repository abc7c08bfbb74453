//! The session may be called in any order: whatever the order, the same things happen, and in the same order.
//!
//! A session talks with a model of a server. Once each request is asked and answered before the next; then the same
//! requests are asked again while bytes leave, arrive, and events are taken a few at a time, just as a driver's tasks would
//! have it.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use proptest::prelude::*;
use support::dialog::{Act, Ask};
use support::pair::{Pair, act, answers, dialog, masked, mixed, one_move, question};

proptest! {
    #![proptest_config(ProptestConfig { cases: 3_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn streams_portals_and_copies_may_be_mixed_in_any_order(case in mixed()) {
        case.play();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_order_of_calls_does_not_matter(
        cache in prop::sample::select(vec![0_usize, 1, 2, 256]),
        two_steps in any::<bool>(),
        questions in prop::collection::vec(question(), 1..25),
        copies in prop::option::of(any::<bool>()),
        moves in prop::collection::vec(one_move(), 0..250),
        last in prop::option::weighted(0.4, any::<bool>()),
    ) {
        let dialog = dialog(cache);
        let mut acts: Vec<_> =
            questions.into_iter().enumerate().map(|(n, q)| act(n, q, two_steps)).collect();
        // COPY FROM STDIN ends the session if anything follows: it may come last only.
        if let Some(by_query) = copies.filter(|_| !two_steps) {
            let sql = "copyin".to_owned();
            let what = if by_query {
                Ask::Script(sql)
            } else {
                Ask::Query { sql, values: vec![] }
            };
            acts.push(Act::Submit { begin: None, what });
        }

        let mut straight = Pair::new(&dialog);
        straight.settle();
        for act in &acts {
            straight.player.act(act);
            straight.settle();
        }

        let mut pair = Pair::new(&dialog);
        let mut questions = acts.into_iter();
        for step in moves {
            pair.make(step, &mut questions);
        }
        if let Some(close) = last {
            pair.end(close);
        } else {
            pair.settle();
            for act in questions.by_ref() {
                pair.player.act(&act);
            }
            pair.settle();
        }
        pair.check_delivery();

        if last.is_none() && two_steps && pair.abandoned.is_empty() {
            prop_assert_eq!(answers(&pair.player.events), answers(&straight.player.events));
        }
        if !two_steps {
            let seen = masked(&pair.player.events, &pair.abandoned);
            let expected = masked(&straight.player.events, &pair.abandoned);
            // From the end on everything settles as closed or lost.
            let count = pair.before_end.unwrap_or(seen.len());
            prop_assert_eq!(&seen[..count], &expected[..count]);
            prop_assert!(last.is_some() || seen.len() == expected.len());
        }
        pair.player.receive_end();
        pair.player.watch.ended(&mut pair.player.session);
    }
}

//! Whatever is dropped after whatever number of polls: the server listens to what is wanted, and to nothing else.

use std::collections::BTreeSet;

use txpostgres::{Connection, NotifyEvent, Subscription};

use crate::support::dice::{Dice, Seed};
use crate::support::polls::GiveUp;
use crate::support::{assert_works, bounded, connected};

/// What the server listens to, once everything that was begun is done.
async fn listened_to(connection: &Connection) -> BTreeSet<String> {
    // It comes after whatever is on its way.
    bounded(connection.unlisten("barrier")).await.unwrap();
    let sql = "select pg_listening_channels()";
    let rows = bounded(connection.run_query(sql, ())).await.unwrap();
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

/// The rounds of a future dropped after 0, 1, 2 … polls, until it ends by itself.
fn give_ups() -> impl Iterator<Item = GiveUp> {
    (0..20).flat_map(|after| [false, true].map(|woken| GiveUp { after, woken }))
}

#[tokio::test]
async fn what_was_begun_is_done_and_what_was_not_polled_is_not() {
    let (_database, connection) = connected().await;
    let mut ended = 0;
    for give_up in give_ups() {
        let listened = bounded(give_up.poll(connection.listen("a"))).await;
        let expected =
            if give_up.after > 0 { BTreeSet::from(["a".to_owned()]) } else { BTreeSet::new() };
        assert_eq!(listened_to(&connection).await, expected, "listen, {give_up:?}");
        ended += usize::from(listened.is_some());

        bounded(connection.listen("a")).await.unwrap();
        let unlistened = bounded(give_up.poll(connection.unlisten("a"))).await;
        assert_eq!(
            listened_to(&connection).await.is_empty(),
            give_up.after > 0,
            "unlisten, {give_up:?}"
        );
        ended += usize::from(unlistened.is_some());

        bounded(connection.listen("a")).await.unwrap();
        let unlistened = bounded(give_up.poll(connection.unlisten_all())).await;
        assert_eq!(
            listened_to(&connection).await.is_empty(),
            give_up.after > 0,
            "all, {give_up:?}"
        );
        ended += usize::from(unlistened.is_some());
        bounded(connection.unlisten_all()).await.unwrap();
    }
    assert!(ended > 60, "only {ended} ended");
    assert_works(&connection).await;
}

#[tokio::test]
async fn a_subscription_that_was_not_awaited_leaves_nothing_behind() {
    let (_database, connection) = connected().await;
    for give_up in give_ups() {
        drop(bounded(give_up.poll(connection.subscribe("a"))).await);
        assert!(listened_to(&connection).await.is_empty(), "{give_up:?}");
        // Beside another one it changes nothing.
        let mut kept = bounded(connection.subscribe("a")).await.unwrap();
        drop(bounded(give_up.poll(connection.subscribe("a"))).await);
        assert_eq!(listened_to(&connection).await.len(), 1, "{give_up:?}");
        bounded(give_up.poll(connection.notify("a", "x"))).await.transpose().unwrap();
        bounded(connection.notify("a", "last")).await.unwrap();
        let mut heard = Vec::new();
        while heard.last().is_none_or(|payload| payload != "last") {
            // Dropped, it has taken nothing.
            if let Some(event) = bounded(give_up.poll(kept.next())).await {
                note(event, &mut heard);
                continue;
            }
            if let Some(event) = bounded(GiveUp { after: 1, woken: false }.poll(kept.next())).await
            {
                note(event, &mut heard);
            }
        }
        let expected: &[&str] = if give_up.after > 0 { &["x", "last"] } else { &["last"] };
        assert_eq!(heard, expected, "{give_up:?}");
    }
}

fn note(event: Option<NotifyEvent>, heard: &mut Vec<String>) {
    match event {
        Some(NotifyEvent::Notification(notification)) => {
            heard.push(notification.payload().to_owned());
        }
        other => panic!("{other:?}"),
    }
}

/// What the connection was asked to listen to, in a model as simple as can be.
#[derive(Default)]
struct Model {
    by_hand: BTreeSet<String>,
    subscriptions: Vec<Subscription>,
}

impl Model {
    fn wanted(&self) -> BTreeSet<String> {
        let subscribed = self.subscriptions.iter().map(|one| one.channel().to_owned());
        self.by_hand.iter().cloned().chain(subscribed).collect()
    }

    async fn step(&mut self, connection: &Connection, dice: &mut Dice) {
        let channel = format!("channel {}", dice.below(4));
        let give_up =
            GiveUp { after: usize::try_from(dice.below(5)).unwrap(), woken: dice.below(2) == 0 };
        let was_polled = give_up.after > 0;
        match dice.below(12) {
            0..3 => {
                bounded(give_up.poll(connection.listen(&channel))).await.transpose().unwrap();
                if was_polled {
                    self.by_hand.insert(channel);
                }
            }
            3..5 => {
                bounded(give_up.poll(connection.unlisten(&channel))).await.transpose().unwrap();
                if was_polled {
                    self.by_hand.remove(&channel);
                }
            }
            5..8 => {
                let subscribed = bounded(give_up.poll(connection.subscribe(&channel))).await;
                self.subscriptions.extend(subscribed.transpose().unwrap());
            }
            8..10 if !self.subscriptions.is_empty() => {
                let count = u64::try_from(self.subscriptions.len()).unwrap();
                let place = usize::try_from(dice.below(count)).unwrap();
                drop(self.subscriptions.swap_remove(place));
            }
            10 => {
                bounded(give_up.poll(connection.unlisten_all())).await.transpose().unwrap();
                if was_polled {
                    self.by_hand.clear();
                }
            }
            _ => {
                tokio::task::yield_now().await;
            }
        }
    }
}

async fn the_server_listens_to_what_is_wanted() {
    let seed = Seed::of_this_run();
    let (_database, connection) = connected().await;
    let mut model = Model::default();
    let mut dice = Dice::new(seed.0, 1);
    for round in 0..150 {
        for _ in 0..=dice.below(8) {
            model.step(&connection, &mut dice).await;
        }
        assert_eq!(listened_to(&connection).await, model.wanted(), "round {round}");
    }
    drop(model);
    bounded(connection.unlisten_all()).await.unwrap();
    assert!(listened_to(&connection).await.is_empty());
}

#[tokio::test]
async fn the_server_listens_to_what_is_wanted_on_one_thread() {
    the_server_listens_to_what_is_wanted().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_server_listens_to_what_is_wanted_on_two_threads() {
    the_server_listens_to_what_is_wanted().await;
}

/// The runtime that the connection was opened on ends: whoever waits elsewhere is told.
#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let database = txpostgres_testkit::shared().database().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (runtime(), runtime());
    let connection = first.block_on(Connection::open(database.dsn())).unwrap();
    drop(first);
    second.block_on(async {
        bounded(connection.listen("a")).await.unwrap_err();
        bounded(connection.subscribe("a")).await.unwrap_err();
        bounded(connection.unlisten_all()).await.unwrap_err();
    });
}

//! Listening to channels, and notifying them.

use txpostgres::{NotifyEvent, NotifyObserver};

use super::ledger::{Heard, Oops, Told};
use super::op::{Kind, Op};
use super::{Env, Target};

pub(crate) fn channel_of(number: u32) -> String {
    format!("c{number}")
}

/// LISTEN, UNLISTEN, NOTIFY.
pub(super) async fn channel(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let channel = channel_of(op.of);
    match (op.kind, target) {
        (Kind::Listen, _) => {
            env.connection.listen(&channel).await?;
            env.ledger.tell(Told::Listening { op: op.id, channel });
        }
        (Kind::Unlisten, _) => env.connection.unlisten(&channel).await?,
        (Kind::UnlistenAll, _) => env.connection.unlisten_all().await?,
        (_, Target::Connection(connection)) => {
            connection.notify(&channel, &op.token().to_string()).await?;
        }
        (_, Target::Cursor(cursor)) => cursor.notify(&channel, &op.token().to_string()).await?,
    }
    Ok(())
}

/// Subscribes to a channel and hears so many events.
pub(super) async fn subscribe(env: &Env, op: &Op) -> Result<(), Oops> {
    let channel = channel_of(op.of);
    let mut subscription = env.connection.subscribe(&channel).await?;
    env.ledger.tell(Told::Listening { op: op.id, channel });
    for _ in 0..op.count {
        let event = Heard::from(subscription.next().await);
        let has_ended = event == Heard::End;
        env.ledger.tell(Told::Heard { op: op.id, event });
        if has_ended {
            break;
        }
    }
    Ok(())
}

/// Hears so many events of all channels.
pub(super) async fn hear(env: &Env, op: &Op) -> Result<(), Oops> {
    let mut notifications = env.connection.notifications();
    for _ in 0..op.count {
        let event = Heard::from(notifications.next().await);
        let has_ended = event == Heard::End;
        env.ledger.tell(Told::Heard { op: op.id, event });
        if has_ended {
            break;
        }
    }
    Ok(())
}

/// Adds an observer, which stays.
pub(super) fn observe(env: &Env, op: &Op) {
    let (ledger, id) = (env.ledger.clone(), op.id);
    env.connection.add_notify_observer(NotifyObserver::new(move |event: NotifyEvent| {
        ledger.tell(Told::Heard { op: id, event: Heard::from(Some(event)) });
        std::future::ready(())
    }));
}

//! Operations that hold others together: at the same time, against the clock, put aside, again and
//! again.

use std::future::poll_fn;
use std::task::Poll;
use std::time::Duration;

use tokio::time;

use super::ledger::{Oops, Outcome, Told};
use super::op::{End, Kind, Op};
use super::rows::Reader;
use super::{Env, Target, Work, perform as perform_one};
use crate::token::Token;

pub(super) fn perform<'a>(
    env: &'a Env,
    target: &'a Target,
    op: &'a Op,
) -> Work<'a, Result<(), Oops>> {
    match op.kind {
        Kind::Join => Box::pin(join(env, target, op)),
        Kind::Select => Box::pin(select(env, target, op)),
        Kind::Aside => Box::pin(aside(env, target, op)),
        Kind::ByHand => Box::pin(by_hand(env, target, op)),
        _ => Box::pin(repeat(env, target, op)),
    }
}

/// Polls all of them whenever the task is polled, until each has ended.
pub(super) async fn all<T>(futures: Vec<Work<'_, T>>) {
    let mut futures: Vec<_> = futures.into_iter().map(Some).collect();
    poll_fn(|cx| {
        let mut waits = false;
        for slot in &mut futures {
            let has_ended = slot.as_mut().is_some_and(|it| it.as_mut().poll(cx).is_ready());
            if has_ended {
                *slot = None;
            }
            waits |= slot.is_some();
        }
        if waits { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
}

async fn join(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    all(op.body.iter().map(|op| perform_one(env, target, op)).collect()).await;
    Ok(())
}

/// In one task with a sleep: the future is dropped when the sleep is over.
async fn select(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let mut sleep = Box::pin(time::sleep(Duration::from_millis(op.count.into())));
    let mut works: Vec<_> = op.body.iter().map(|op| perform_one(env, target, op)).collect();
    poll_fn(|cx| match works.first_mut() {
        Some(work) => match work.as_mut().poll(cx) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| Err(Oops::Planned)),
        },
        None => Poll::Ready(Ok(())),
    })
    .await
}

/// Polled once, then kept by the caller until its own end.
async fn aside(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let Some(asides) = &env.asides else {
        return Ok(());
    };
    for inner in &op.body {
        let (env, target, inner) =
            (Env { asides: None, ..env.clone() }, target.clone(), inner.clone());
        let mut work: Work<'static> = Box::pin(async move {
            let _ = perform_one(&env, &target, &inner).await;
        });
        let has_ended = poll_fn(|cx| Poll::Ready(work.as_mut().poll(cx).is_ready())).await;
        if !has_ended {
            asides.lock().push(work);
        }
    }
    Ok(())
}

/// A transaction begun and ended by statements of the connection.
async fn by_hand(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let beginning = env.ledger.begin(op.id);
    let result = async {
        target.run_script("begin").await?;
        for inner in &op.body {
            perform_one(env, target, inner).await?;
        }
        let end = if op.end == End::Badly { "rollback" } else { "commit" };
        target.run_script(end).await?;
        Ok(())
    };
    let result: Result<(), Oops> = result.await;
    if result.is_err() {
        target.run_script("rollback").await?;
    }
    beginning.end(result.as_ref().map_or_else(Outcome::from, |()| Outcome::Well));
    result
}

/// The same call again and again; what the library has grown by meanwhile is told.
async fn repeat(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let beginning = env.ledger.begin(op.id);
    let result = rounds(env, target, op).await;
    beginning.end(result.as_ref().map_or_else(Outcome::from, |()| Outcome::Well));
    result
}

async fn rounds(env: &Env, target: &Target, op: &Op) -> Result<(), Oops> {
    let warm = op.count / 5;
    let mut before = 0;
    for round in 0..op.count {
        if round == warm {
            before = env.ledger.usage();
        }
        for inner in &op.body {
            let token = Token::item(inner.id, round + 1);
            let rows = target.run_query(&inner.sql(), (token.to_string(),)).await?;
            let mut reader = Reader::new(inner, token, 0);
            env.wrong(inner, reader.rows(&rows).and_then(|()| reader.end()));
        }
    }
    let (bytes, times) = (env.ledger.usage() - before, op.count - warm);
    env.ledger.tell(Told::Grown { op: op.id, bytes, times });
    Ok(())
}

pub(super) async fn sleep(op: &Op) -> Result<(), Oops> {
    time::sleep(Duration::from_millis(op.count.into())).await;
    Ok(())
}

/// Waits until the trials are over.
pub(super) async fn hold(env: &Env) -> Result<(), Oops> {
    poll_fn(|cx| env.gate.poll(cx)).await;
    Ok(())
}

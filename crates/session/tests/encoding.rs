//! What a query asks is planned and submitted with the session at hand, and encoded without it: what may happen in between.
//!
//! Alone in its test binary: the allocator counts for the whole process.

// A test's helpers may panic as the test itself may; clippy.toml allows it inside of `#[test]` only.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::error::Error as StdError;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use bytes::BytesMut;
use peak_alloc::PeakAlloc;
use support::dialog::{Dialog, message};
use support::player::{Player, submit_query};
use support::spoken;
use txpostgres_session::types::{IsNull, ToSql, Type, to_sql_checked};
use txpostgres_session::{
    EncodeBuffer, ErrorKind, Event, Execute, NextStep, ParameterSets, Parameters, Query, Request,
    Result, Session, Submitted,
};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// The tests of this file run one after the other: one of them measures memory.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> std::sync::MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn open(cache: usize) -> Session {
    let dialog = Dialog::parse("encoding", &format!("A session.\n! open cache={cache}"));
    let mut player = Player::new(&dialog);
    player.take();
    player.receive(&[message(b'R', &[0; 4]), message(b'Z', b"I")].concat());
    assert!(player.session.is_open());
    player.session
}

/// The messages that are sent now.
fn sent(session: &mut Session) -> Vec<String> {
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    session.sent(out.len());
    spoken::sent(&out).into_iter().map(|message| message.text).collect()
}

/// The kinds of the messages that are sent now, with the ends of the names that statements have.
fn sent_in_short(session: &mut Session) -> String {
    let messages = sent(session);
    let short = messages.iter().map(|message| {
        let name = message.split(' ').find(|word| word.starts_with("txpg_")).unwrap_or_default();
        let number = name.rsplit('_').next().unwrap_or_default();
        format!("{}{number}", message.split(' ').next().unwrap())
    });
    short.collect::<Vec<_>>().join(" ")
}

/// `ParameterDescription` of one `text`.
fn one_text() -> Vec<u8> {
    message(b't', b"\0\x01\0\0\0\x19")
}

fn settle(session: &mut Session, query: &mut Query, sql: &str) -> NextStep {
    while let Some(event) = session.next_event() {
        if let Event::Settled { outcome, status, .. } = event {
            return query.settled(session, sql, outcome, status);
        }
    }
    panic!("nothing has settled")
}

/// Has the session know a statement with one parameter, a `text`.
fn learn(session: &mut Session, sql: &str) {
    let (mut query, value): (_, &(dyn ToSql + Sync)) = (Query::new(), &"a");
    for answer in [
        vec![message(b'1', b""), one_text(), message(b'n', b"")],
        vec![message(b'2', b""), message(b'C', b"SELECT 0\0")],
    ] {
        submit_query(&mut query, session, sql, Execute::Run(&[value]), None).unwrap();
        let closes = sent(session).iter().filter(|message| message.starts_with("Close")).count();
        session.receive(&message(b'3', b"").repeat(closes));
        session.receive(&answer.concat());
        session.receive(&message(b'Z', b"I"));
        if let NextStep::Done(outcome) = settle(session, &mut query, sql) {
            outcome.unwrap();
        }
    }
}

/// A value that does something while it is written.
struct Doing<F>(F);

impl<F> fmt::Debug for Doing<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Doing")
    }
}

impl<F: Fn(&mut BytesMut) -> Result<IsNull, Box<dyn StdError + Sync + Send>>> ToSql for Doing<F> {
    fn to_sql(
        &self,
        _: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn StdError + Sync + Send>> {
        (self.0)(out)
    }

    fn accepts(_: &Type) -> bool {
        true
    }

    to_sql_checked!();
}

/// The session is not borrowed while a value is written: behind a lock it can be asked, and even asked to do something.
#[test]
fn a_value_may_use_the_session_that_it_is_sent_by() {
    let _alone = alone();
    let session = Arc::new(Mutex::new(open(8)));
    learn(&mut session.lock().unwrap(), "select $1");
    let nosy = Doing({
        let session = Arc::clone(&session);
        move |out: &mut BytesMut| {
            let mut session = session.try_lock().map_err(|_| "the session is borrowed")?;
            let (mut query, value): (_, &(dyn ToSql + Sync)) = (Query::new(), &"inner");
            submit_query(&mut query, &mut session, "select $1", Execute::Run(&[value]), None)?;
            out.extend_from_slice(b"outer");
            Ok(IsNull::No)
        }
    });
    let (mut query, mut buffer) = (Query::new(), EncodeBuffer::new());
    let plan = query.plan(&mut session.lock().unwrap(), "select $1").unwrap();
    let encoded = plan.encode("select $1", Execute::Run(&[&nosy]), Some("begin"), &mut buffer);
    let mut session = session.lock().unwrap();
    assert!(matches!(query.submit(&mut session, "select $1", encoded), Ok(Submitted::Sent(_))));
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    let position = |text: &[u8]| out.windows(text.len()).position(|bytes| bytes == text);
    assert!(position(b"inner").unwrap() < position(b"outer").unwrap());
    let sent: Vec<_> = spoken::sent(&out).into_iter().map(|message| message.text).collect();
    assert_eq!(sent_kinds(&sent), "Bind Execute Sync Parse Bind Execute Bind Execute Sync");
}

fn sent_kinds(messages: &[String]) -> String {
    let kinds = messages.iter().map(|message| message.split(' ').next().unwrap());
    kinds.collect::<Vec<_>>().join(" ")
}

/// A statement that was forgotten while its values were written is not run: nothing is sent, and it is planned again.
#[test]
fn what_was_forgotten_meanwhile_is_planned_again() {
    let _alone = alone();
    let mut session = open(8);
    learn(&mut session, "select $1");
    let (mut query, mut buffer) = (Query::new(), EncodeBuffer::new());
    let value: &(dyn ToSql + Sync) = &"a";
    let execute = Execute::Run(std::slice::from_ref(&value));
    let plan = query.plan(&mut session, "select $1").unwrap();
    session.forget_types();
    let encoded = plan.encode("select $1", execute, None, &mut buffer);
    let submitted = query.submit(&mut session, "select $1", encoded).unwrap();
    assert!(matches!(submitted, Submitted::PlanAgain(_)));
    assert!(!session.has_output());
    submit_query(&mut query, &mut session, "select $1", execute, None).unwrap();
    assert_eq!(sent_in_short(&mut session), "Close1 Parse2 Describe2 Sync");
}

/// A statement that only fell out of the cache is still there: it runs, and is closed by a request behind it.
#[test]
fn what_was_evicted_meanwhile_runs() {
    let _alone = alone();
    let mut session = open(1);
    learn(&mut session, "select $1");
    let (mut query, mut buffer) = (Query::new(), EncodeBuffer::new());
    let value: &(dyn ToSql + Sync) = &"a";
    let execute = Execute::Run(std::slice::from_ref(&value));
    let plan = query.plan(&mut session, "select $1").unwrap();
    learn(&mut session, "select $1 || ''");
    let encoded = plan.encode("select $1", execute, None, &mut buffer);
    query.submit(&mut session, "select $1", encoded).unwrap();
    assert_eq!(sent_in_short(&mut session), "Bind1 Execute Sync");
    // It is not found any more, and the next request closes it.
    submit_query(&mut Query::new(), &mut session, "select $1", execute, None).unwrap();
    assert_eq!(sent_in_short(&mut session), "Close1 Parse3 Describe3 Sync");
}

/// A session that has ended meanwhile takes nothing.
#[test]
fn what_has_ended_meanwhile_takes_nothing() {
    let _alone = alone();
    let mut session = open(8);
    learn(&mut session, "select $1");
    let (mut query, mut buffer) = (Query::new(), EncodeBuffer::new());
    let plan = query.plan(&mut session, "select $1").unwrap();
    let value: &(dyn ToSql + Sync) = &"a";
    let encoded = plan.encode("select $1", Execute::Run(&[value]), None, &mut buffer);
    session.close();
    let error = query.submit(&mut session, "select $1", encoded).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
    assert_eq!(query.plan(&mut session, "select $1").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(sent(&mut session), ["Terminate"]);
}

/// A value that fails, panics or removes what lies before it leaves the query, the buffer and the session as they were: in one
/// set, and in one of many.
#[test]
fn a_value_that_misbehaves_hurts_its_own_request_only() {
    struct Sets<'a>(&'a [&'a (dyn ToSql + Sync)]);

    impl ParameterSets for Sets<'_> {
        fn len(&self) -> usize {
            self.0.len()
        }

        fn with(
            &self,
            index: usize,
            f: &mut dyn FnMut(Parameters<'_>) -> Result<()>,
        ) -> Result<()> {
            f(&self.0[index..=index])
        }
    }

    let _alone = alone();
    let fails = Doing(|_: &mut BytesMut| Err("no".into()));
    let panics = Doing(|_: &mut BytesMut| panic!("no"));
    let truncates = Doing(|out: &mut BytesMut| {
        out.clear();
        Ok(IsNull::No)
    });
    let odd: [&(dyn ToSql + Sync); 3] = [&fails, &truncates, &panics];
    let mut buffer = EncodeBuffer::new();
    for value in odd {
        let pair: [&(dyn ToSql + Sync); 2] = [&"good", value];
        let sets = Sets(&pair);
        for execute in [Execute::Run(&[value]), Execute::Many(&sets)] {
            let mut session = open(8);
            learn(&mut session, "select $1");
            session.submit(Request::Script { sql: "before" }).unwrap();
            let mut query = Query::new();
            let plan = query.plan(&mut session, "select $1").unwrap();
            let encoded = catch_unwind(AssertUnwindSafe(|| {
                plan.encode("select $1", execute, Some("begin"), &mut buffer)
            }));
            if let Ok(encoded) = encoded {
                // Perhaps the statement takes something else by now: it is described once more.
                let submitted = query.submit(&mut session, "select $1", encoded).unwrap();
                assert!(matches!(submitted, Submitted::PlanAgain(_)));
            }
            assert!(buffer.is_empty());
            assert_eq!(sent(&mut session), [r#"Query "before""#]);
            let plan = query.plan(&mut session, "select $1").unwrap();
            let encoded = plan.encode("select $1", Execute::Run(&[&"good"]), None, &mut buffer);
            let submitted = query.submit(&mut session, "select $1", encoded).unwrap();
            assert!(matches!(submitted, Submitted::Sent(_)));
        }
    }
}

/// A large parameter is in memory once: its buffer is handed over as a whole, and closes nothing along.
#[test]
fn a_large_request_is_not_copied() {
    const LARGE: usize = 50_000_000;
    let _alone = alone();
    let mut session = open(8);
    learn(&mut session, "select $1");
    let mut abandoned = Query::new();
    submit_query(&mut abandoned, &mut session, "select 2", Execute::Run(&[]), None).unwrap();
    abandoned.abandon(&mut session);
    sent(&mut session);
    let text = "x".repeat(LARGE);
    let (mut query, mut buffer) = (Query::new(), EncodeBuffer::new());
    let before = ALLOCATOR.current_usage();
    let plan = query.plan(&mut session, "select $1").unwrap();
    let value: &(dyn ToSql + Sync) = &text;
    let encoded = plan.encode("select $1", Execute::Run(&[value]), None, &mut buffer);
    let encoded_usage = ALLOCATOR.current_usage();
    assert!(encoded_usage - before > LARGE);
    ALLOCATOR.reset_peak_usage();
    query.submit(&mut session, "select $1", encoded).unwrap();
    let mut out = BytesMut::new();
    session.take_output(&mut out);
    assert!(ALLOCATOR.peak_usage() - encoded_usage < 100_000);
    let sent: Vec<_> = spoken::sent(&out).into_iter().map(|message| message.text).collect();
    assert_eq!(sent_kinds(&sent), "Bind Execute Sync");
    drop(out);
    // Neither the session nor the buffer keeps so much memory; and what was to be closed is closed by the next request.
    submit_query(&mut Query::new(), &mut session, "select $1", Execute::Run(&[&"a"]), None)
        .unwrap();
    assert_eq!(sent_in_short(&mut session), "Close2 Bind1 Execute Sync");
    assert!(ALLOCATOR.current_usage() - before < 1_000_000);
}

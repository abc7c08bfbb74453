//! Rows: taken in runs and in buffers, in parts, and refused when they lie.

use postgres_types::Type;

use super::*;

fn rows(columns: usize) -> Rows {
    let columns: Vec<Column> =
        (0..columns).map(|n| Column::for_test(&format!("c{n}"), Type::BYTEA)).collect();
    Rows::new(Some(columns.into()))
}

#[test]
fn a_value_is_taken_out_with_its_memory() {
    let large = vec![7; OWN_BUFFER_BYTES];
    let mut rows = rows(2);
    let small = data_row(&[Some(b"a"), None]);
    let (message, rest) = split_message(&small, AuthState::Authenticated).unwrap().unwrap();
    rows.take_run(&small, message, rest).unwrap();
    let own = data_row(&[Some(b"b"), Some(&large)]);
    let address = own[own.len() - large.len()..].as_ptr();
    rows.take_buffer(own).unwrap();
    let taken = rows.clone().into_value(0, 0).unwrap().unwrap();
    assert_eq!(taken, &b"a"[..]);
    assert_eq!(rows.clone().into_value(0, "c1").unwrap(), None);
    assert_eq!(rows.clone().into_value(2, 0).unwrap_err().kind(), ErrorKind::Decode);
    assert_eq!(rows.clone().into_value(0, "c2").unwrap_err().kind(), ErrorKind::Decode);
    let taken = rows.into_value(1, 1).unwrap().unwrap();
    assert_eq!(taken, large);
    assert_eq!(taken.as_ptr(), address);
}

fn data_row(values: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(values.len()).unwrap().to_be_bytes().to_vec();
    for value in values {
        match value {
            None => body.extend_from_slice(&(-1_i32).to_be_bytes()),
            Some(value) => {
                body.extend_from_slice(&i32::try_from(value.len()).unwrap().to_be_bytes());
                body.extend_from_slice(value);
            }
        }
    }
    message(&body)
}

fn message(body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![b'D'];
    bytes.extend_from_slice(&u32::try_from(body.len() + 4).unwrap().to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

fn take_run<'a>(rows: &mut Rows, input: &'a [u8]) -> Result<&'a [u8]> {
    let (message, rest) = split_message(input, AuthState::Authenticated)?.unwrap();
    rows.take_run(input, message, rest)
}

type Values<'a> = (Option<&'a [u8]>, Option<&'a [u8]>);

#[test]
fn takes_runs_and_buffers() {
    let mut rows = rows(2);
    let mut input = data_row(&[Some(b"a"), None]);
    input.extend(data_row(&[Some(b""), Some(b"bc")]));
    input.extend(b"C\0");
    assert_eq!(take_run(&mut rows, &input).unwrap(), b"C\0");
    rows.take_buffer(data_row(&[None, Some(b"own")])).unwrap();
    assert_eq!(take_run(&mut rows, &data_row(&[None, None])).unwrap(), b"");
    assert_eq!(rows.len(), 4);
    let seen: Vec<Values<'_>> =
        rows.iter().map(|row| (row.get(0).unwrap(), row.get("c1").unwrap())).collect();
    assert_eq!(
        seen,
        [
            (Some(&b"a"[..]), None),
            (Some(b""), Some(&b"bc"[..])),
            (None, Some(b"own")),
            (None, None)
        ]
    );
    assert!(rows.get(3).is_some() && rows.get(4).is_none());
}

#[test]
fn what_breaks_off_in_the_middle_of_a_run_leaves_the_rows_before_it() {
    let mut rows = rows(1);
    take_run(&mut rows, &data_row(&[Some(b"a")])).unwrap();
    let input = [data_row(&[Some(b"b")]), data_row(&[])].concat();
    take_run(&mut rows, &input).unwrap_err();
    let piece = rows.take_piece().unwrap();
    let seen: Vec<_> = piece.iter().map(|row| row.get::<&[u8]>(0).unwrap()).collect();
    assert_eq!(seen, [b"a"]);
}

#[test]
fn rows_that_lie_reserve_nothing() {
    let mut rows = rows(10_000);
    let input = message(b"\x27\x10").repeat(10_000);
    take_run(&mut rows, &input).unwrap_err();
    assert!(rows.first.values.capacity() <= 10_000);
}

#[test]
fn refuses_rows_that_lie() {
    // pgproto3's CVE-2026-4427: lengths below -1; RUSTSEC-2026-0178: more or fewer values than
    // columns.
    let bodies: &[&[u8]] = &[
        b"",
        b"\0",
        b"\0\x01",
        b"\0\x02\0\0\0\0\0\0\0\0",
        b"\0\0",
        b"\0\x01\0\0\0\x02x",
        b"\0\x01\0\0\0\x01xy",
        b"\0\x01\xff\xff\xff\xfe",
        b"\0\x01\x80\0\0\0",
        b"\0\x01\x7f\xff\xff\xff",
        b"\xff\xff",
    ];
    for body in bodies {
        let error = take_run(&mut rows(1), &message(body)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{body:?}");
        assert!(rows(1).take_buffer(message(body)).is_err());
    }
}

#[test]
fn a_tail_has_what_was_not_skipped() {
    let mut all = rows(1);
    for (own_buffer, text) in [(false, b"a"), (false, b"b"), (true, b"c"), (false, b"d")] {
        let row = data_row(&[Some(text)]);
        if own_buffer {
            all.take_buffer(row).unwrap();
        } else {
            take_run(&mut all, &row).unwrap();
        }
    }
    for from in 0..6 {
        let tail = all.tail(from);
        let texts: Vec<&[u8]> = tail.iter().map(|row| row.get(0).unwrap()).collect();
        assert_eq!(texts.concat(), &b"abcd"[from.min(4)..]);
        assert_eq!(tail.len(), texts.len());
        assert!(tail.first().is_none_or(|row| row.number() == from));
        let mut again = all.part(0, from);
        again.append(tail);
        assert_eq!(again.iter().count(), 4);
        assert_eq!(again.get(3).unwrap().get::<&[u8]>(0).unwrap(), b"d");
        for count in 0..5 {
            let part = all.part(from, count);
            let texts: Vec<&[u8]> = part.iter().map(|row| row.get(0).unwrap()).collect();
            let to = (from + count).min(4);
            assert_eq!(texts.concat(), &b"abcd"[from.min(to)..to]);
        }
    }
}

#[test]
fn rows_without_columns_are_counted() {
    let mut rows = rows(0);
    let mut input = message(b"\0\0");
    input.extend(message(b"\0\0"));
    take_run(&mut rows, &input).unwrap();
    assert_eq!(rows.len(), 2);
    assert_eq!(rows.iter().count(), 2);
}

#[test]
fn rows_are_passed_over_across_batches() {
    let mut all = rows(1);
    let count = 3 * BATCH_BYTES / 100;
    for n in 0..count {
        let value = [n.to_be_bytes().as_slice(), &[0; 92]].concat();
        take_run(&mut all, &data_row(&[Some(&value)])).unwrap();
    }
    assert!(all.more.len() > 1);
    let number = |row: Row<'_>| {
        let value = row.raw(0).unwrap().unwrap();
        usize::from_be_bytes(value[..8].try_into().unwrap())
    };
    for n in (0..count + 3).step_by(7) {
        let mut iter = all.iter();
        let row = iter.nth(n);
        assert_eq!(row.map(|row| (row.number(), number(row))), (n < count).then_some((n, n)));
        assert_eq!(iter.len(), count.saturating_sub(n + 1));
        assert_eq!(iter.next().map(number), (n + 1 < count).then_some(n + 1));
        assert_eq!(all.iter().skip(n).map(number).sum::<usize>(), (n..count).sum::<usize>());
    }
}

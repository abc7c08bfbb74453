//! Another `client_encoding` than UTF-8: where it is noticed, where it does no harm, and the one
//! place where it is not noticed.

use txpostgres::{Connection, Delivery, Error, ErrorKind};

use crate::support::{assert_works, bounded, connected};

/// What LATIN1 makes of this are the bytes of `é` in UTF-8: read without an error, and wrong.
const TREACHEROUS: &str = "chr(195) || chr(169)";

fn refused<T>(what: &str, outcome: Result<T, Error>) {
    let Err(error) = outcome else { panic!("{what}: believed") };
    let told = (error.kind(), error.delivery());
    assert_eq!(told, (ErrorKind::Request, Delivery::CarriedOut), "{what}: {error:?}");
    assert!(error.to_string().contains("client_encoding") && error.hint().is_some(), "{error:?}");
}

#[tokio::test]
async fn a_statement_that_sets_another_encoding_for_itself_is_not_believed() {
    let (_database, connection) = connected().await;
    let call = "set_config('client_encoding', 'LATIN1', true)";
    let bare = format!("select {call}, {TREACHEROUS}");
    let with_value = format!("select {call}, {TREACHEROUS} where $1");
    let array = format!("select {call}, array[{TREACHEROUS}]");
    let name = format!("select {call}, 'x' as \"\u{c3}\u{a9}\"");
    // As often as it is asked: nothing of it is remembered.
    for _ in 0..3 {
        for sql in [&bare, &array, &name] {
            refused(sql, bounded(connection.run_query(sql, ())).await);
            refused(sql, bounded(connection.run_query(sql, ()).in_text()).await);
            refused(sql, bounded(connection.run_query(sql, ()).one()).await);
            refused(sql, bounded(connection.query_stream(sql, ()).next()).await.unwrap());
            refused(sql, bounded(connection.cursor().execute(sql, ())).await);
            refused(sql, bounded(connection.run_script(sql)).await);
            assert_works(&connection).await;
        }
        refused("a value", bounded(connection.run_query(&with_value, (true,))).await);
        refused("typed", {
            bounded(connection.run_query_as::<(String, String), _>(&with_value, (true,))).await
        });
        refused("many", bounded(connection.execute_many(&with_value, [(false,), (true,)])).await);
        let mut batch = connection.batch();
        batch.push(&with_value, (true,));
        refused("a batch", bounded(batch.send()).await.unwrap().remove(0));
    }
    // A row that is in doubt is not handed out before the end either.
    let sql = format!("{bare} from generate_series(1, 100000)");
    refused("a stream", bounded(connection.query_stream(&sql, ()).next()).await.unwrap());
    assert_works(&connection).await;
    // In an interaction the change outlives the statement, and the server reports it.
    let ended = bounded(connection.run_interaction(async |cursor| {
        refused("a cursor", cursor.run_query(&bare, ()).await);
        cursor.run_query("select 1", ()).await.map(drop)
    }))
    .await
    .unwrap_err();
    assert_eq!(ended.kind(), ErrorKind::ConnectionDead);
}

#[tokio::test]
async fn what_is_the_same_in_every_encoding_is_believed() {
    let (_database, connection) = connected().await;
    for sql in [
        "select set_config('client_encoding', 'LATIN1', true), 'x', 2000000000, now()",
        "select set_config('client_encoding', 'UTF8', true), 'ä'",
        "select set_config('application_name', 'ä', true)",
        "select 'set_config(''client_encoding'', ''LATIN1'', true)', 'ä'",
        "select 'set client_encoding = latin1', 'ä'",
    ] {
        for _ in 0..2 {
            bounded(connection.run_query(sql, ())).await.unwrap_or_else(|e| panic!("{sql}: {e}"));
        }
    }
    let sql = "begin; set local client_encoding = 'LATIN1'; select 'x', 1; commit";
    bounded(connection.run_script(sql)).await.unwrap();
    assert_works(&connection).await;
}

/// Code within the server: what it sets for itself is no longer so when its values are sent.
#[tokio::test]
async fn blocks_and_functions() {
    let (database, connection) = connected().await;
    connection
        .run_script(
            "create function of_its_own() returns text language sql set client_encoding = 'LATIN1' \
                 as $$ select chr(233) $$;
             create function lasting() returns text language plpgsql \
                 as $$ begin set client_encoding = 'LATIN1'; return chr(233); end $$;
             create function in_transaction() returns text language plpgsql \
                 as $$ begin set local client_encoding = 'LATIN1'; return ''; end $$",
        )
        .await
        .unwrap();
    let text = async |connection: &Connection, sql: &str| {
        bounded(connection.run_query_as::<(String,), _>(sql, ()).one()).await.map(|row| row.0)
    };
    assert_eq!(text(&connection, "select of_its_own()").await.unwrap(), "é");
    let block = "do $$ begin perform set_config('client_encoding', 'LATIN1', true); end $$";
    bounded(connection.run_operation(block, ())).await.unwrap();
    assert_eq!(text(&connection, "select chr(233)").await.unwrap(), "é");
    let treacherous = format!("select {TREACHEROUS}");
    refused("a block in a script", {
        bounded(connection.run_script(&format!("{block}; {treacherous}"))).await
    });
    assert_works(&connection).await;
    // What outlives its request is reported at its end.
    for sql in ["select lasting()", "do $$ begin perform lasting(); end $$"] {
        let connection = bounded(Connection::open(database.dsn())).await.unwrap();
        refused(sql, bounded(connection.run_query(sql, ())).await);
        assert_eq!(
            text(&connection, "select 'x'").await.unwrap_err().kind(),
            ErrorKind::ConnectionDead
        );
    }
    let one = bounded(Connection::open(database.dsn())).await.unwrap();
    let outcome = bounded(one.run_interaction(async |cursor| {
        refused("a cursor", cursor.run_query("select in_transaction()", ()).await);
        Ok::<_, Error>(())
    }));
    outcome.await.unwrap_err();
    // The limit that the guide names: a function of the database that changes the encoding up to
    // the end of the transaction, and the transaction is the statement's own. Nothing on the wire
    // tells it. What does not read as UTF-8 is an error all the same.
    let sql = "select chr(233) || in_transaction()";
    assert_eq!(text(&connection, sql).await.unwrap_err().kind(), ErrorKind::Decode);
    let sql = format!("select {TREACHEROUS} || in_transaction()");
    assert_eq!(text(&connection, &sql).await.unwrap(), "é");
    assert_works(&connection).await;
}

#[tokio::test]
async fn copies() {
    let (_database, connection) = connected().await;
    connection.run_operation("create table t (a text)", ()).await.unwrap();
    // The encoding of a COPY's own data is the user's affair, and says nothing of the rest.
    let mut copy =
        bounded(connection.copy_in("copy t from stdin (encoding 'LATIN1')")).await.unwrap();
    bounded(copy.send(b"\xe9\n")).await.unwrap();
    assert_eq!(bounded(copy.finish()).await.unwrap(), 1);
    let sql = "select a, 'é' = a from t";
    let row = bounded(connection.run_query_as::<(String, bool), _>(sql, ()).one()).await;
    assert_eq!(row.unwrap(), ("é".to_owned(), true));
    let out = "copy t to stdout (encoding 'LATIN1')";
    let mut copy = bounded(connection.copy_out(out)).await.unwrap();
    assert_eq!(bounded(copy.next()).await.unwrap().unwrap(), b"\xe9\n".as_slice());
    assert!(bounded(copy.next()).await.is_none());
    // Data in text keeps the encoding of its beginning; values in binary are those of the moment.
    let query = format!("select set_config('client_encoding', 'LATIN1', true), {TREACHEROUS}");
    let mut copy =
        bounded(connection.copy_out(&format!("copy ({query}) to stdout"))).await.unwrap();
    let data = bounded(copy.next()).await.unwrap().unwrap();
    assert_eq!(data, "LATIN1\t\u{c3}\u{a9}\n".as_bytes());
    assert!(bounded(copy.next()).await.is_none());
    let binary = format!("copy ({query}) to stdout (format binary)");
    refused("binary", bounded(connection.copy_out(&binary)).await);
    refused("rows", bounded(connection.copy_out_rows(&query)).await);
    assert_works(&connection).await;
    let query = "select a from t where a <> 'set client_encoding to latin1'";
    let mut rows = bounded(connection.copy_out_rows(query)).await.unwrap();
    let row = bounded(rows.next()).await.unwrap().unwrap();
    assert_eq!(row.get::<&str>(0).unwrap(), "é");
    drop(rows);
    // A COPY that changes the encoding for good.
    let sql = "copy (select set_config('client_encoding', 'LATIN1', false)) to stdout";
    let mut copy = bounded(connection.copy_out(sql)).await.unwrap();
    assert!(bounded(copy.next()).await.unwrap().is_ok());
    refused("at its end", bounded(copy.next()).await.unwrap());
}

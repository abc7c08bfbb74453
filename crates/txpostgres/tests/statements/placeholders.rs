//! Places for parameters as other libraries write them: the error says how they are written here,
//! if it is about one. Each statement of the table fails.

use txpostgres::Error;

use crate::support::{bounded, connected};

const SETUP: &str = "
    create table t (id int, sub int, x text, jb jsonb, a int[], lo int, hi int, ö text);
    create table s (id int)";

/// What the hint names, and the statement.
const WITH: &[(&str, &str)] = &[
    ("%s", "select * from t where id = %s"),
    ("%s", "select * from t where id=%s"),
    ("%s", "select * from t where id <=%s and sub = 1"),
    ("%s", "select * from t where id =%s::int"),
    ("%s", "select * from t where x like %s"),
    ("%s", "select * from t where id in (%s, %s)"),
    ("%s", "select * from t s where id =%s"),
    ("%s", "insert into t (id, sub) values (%s,%s)"),
    ("%s", "select * from t limit %s"),
    ("%s", "select * from %s"),
    ("%s", "select 'x'||%s"),
    ("%s", "select * from t where id = %(id)s"),
    ("%s", "select * from t where id =%(id)s"),
    ("%s", "select %(a)s, %(b)s"),
    ("%s", "select jb->%s from t"),
    ("%s", "select 'äöü', \"ö\" from t where ö = %s"),
    ("%s", "select 'äöü🂡' from t where ö =%s"),
    ("%s", "-- äöü %s\nselect /* ? */ * from t where id = /* x */ %s"),
    ("%d", "select * from t where id = %d"),
    ("%d", "select * from t where id=%d"),
    ("%b", "select * from t where id=%b"),
    ("%b", "select * from t where id = %b"),
    ("%t", "select * from t where id = %t"),
    ("?", "select ?"),
    ("?", "select * from t where id = ?"),
    ("?", "select * from t where id=?"),
    ("?", "select * from t where id=? and sub=?"),
    ("?", "select * from t where id = ? and sub = ?"),
    ("?", "select * from t where id = ?   -- the id\n  order by id"),
    ("?", "select * from t where id = ? /* the id */"),
    ("?", "select * from t where id = ?;"),
    ("?", "select * from t where id in (?, ?)"),
    ("?", "select * from t where id between ? and ?"),
    ("?", "insert into t (id, sub) values (?,?)"),
    ("?", "update t set id = ?, sub = ? where id = ?"),
    ("?", "select ?::int"),
    ("?", "select ? + 1"),
    ("?", "select ?+1"),
    ("?", "select * from t where id = ?1"),
    ("?", "select * from t where id=?1"),
    ("?", "select * from ?"),
    ("?", "select * from t limit ? offset ?"),
    ("?", "select jb->? from t"),
    ("?", "select jb ? ? from t"),
    ("?", "select 'äöü🂡' from t where ö = ?"),
    (":name", "select * from t where id = :id"),
    (":name", "select * from t where id=:id"),
    (":name", "select :id::int"),
    (":name", "select * from t where id = :_x"),
    (":name", "select * from t where id = :имя"),
    (":name", "select 'äöü', ö from t where ö = :ö"),
    (":name", "insert into t (id) values (:id)"),
    (":name", "select * from t where id = any(array[:ids])"),
    (":name", "select * from t limit :n"),
    (":name", "select * from t where id = /* ? */ :id"),
    (":1", "select * from t where id = :1"),
    (":1", "select * from t where id in (:1, :2)"),
];

const WITHOUT: &[&str] = &[
    "select '{}'::json ? 'a'",
    "select '{}'::json ?| array['a']",
    "select '{}'::json ?& array['a']",
    "select '{}'::json @? '$.a'",
    "select 1 @? '$.a'",
    "select lo ?# hi from t",
    "select lo ?- hi from t",
    "select lo ?|| hi from t",
    "select ?- 1",
    "select ?| 1",
    "select id ? 'a' from t",
    "select jb ? 'a' from t where nosuch(1)",
    "select jb ? 'a' as b c from t",
    "select jb ? 'a', nosuch from t",
    "select jb ? nosuch from t",
    "select a[lo:hi], nosuch(1) from t",
    "select a[lo:hi], nosuch from t",
    "select a[1:hi] frm t x y",
    "select a[1:2:3] from t",
    "select a[lo:hi:3] from t",
    "select a[:hi] frm t x y",
    "select nosuch(id%s) from t",
    "select id%s from t",
    "select id%s.nosuch from t, s",
    "select id%sub x y from t",
    "select id%(sub+1) x y from t",
    "select id%(sub)s x from t frm",
    "select id %d, nosuch(1) from t",
    "select x % sub from t",
    "select x %sub from t",
    "select id x:int from t",
    "select jb:name from t",
    "select 'a':1",
    "select id::nosuch from t",
    "select ::int",
    "select id = % sub from t",
    "select '%s ? :name' frm t x y",
    "select \"?\" from t",
    "select $$ ? $$, nosuch(1)",
    "select 1 /* ? */ 2 3",
    "select 1 -- :name\n 2 3",
    "select 1 +",
    "select 1 / 0 where '{}'::jsonb ? 'a' or true",
    "select nosuch(1), 'a' <> '?'",
    "select 'äöü?', nosuch(1)",
    "selec :id",
    "selec ?",
];

#[tokio::test]
async fn an_error_at_a_place_for_a_parameter_of_another_library_has_a_hint() {
    let (_database, connection) = connected().await;
    bounded(connection.run_script(SETUP)).await.unwrap();
    let with = WITH.iter().map(|&(found, sql)| (Some(found), sql));
    let without = WITHOUT.iter().map(|&sql| (None, sql));
    let mut faults = Vec::new();
    for (found, sql) in with.chain(without) {
        let expected =
            found.map(|found| format!("parameters are written $1, $2, … and not {found}"));
        let mut see = |how: &str, outcome: Result<(), Error>| match outcome {
            Ok(()) => faults.push(format!("{how}: {sql} is no error")),
            Err(error) if error.hint() != expected.as_deref() => {
                faults.push(format!("{how}: {:?} for {sql}: {error}", error.hint()));
            }
            Err(_) => {}
        };
        see("a query", bounded(connection.run_query(sql, ())).await.map(drop));
        see("a script", bounded(connection.run_script(sql)).await.map(drop));
        let behind = format!("select 'ä' /* ö */;\n{sql}");
        see("a script of two", bounded(connection.run_script(&behind)).await.map(drop));
    }
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

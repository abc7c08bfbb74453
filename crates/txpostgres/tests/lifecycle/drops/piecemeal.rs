//! Streams, COPY and cursors, each from beginning to end, so that they can be dropped anywhere between.

use std::sync::atomic::{AtomicBool, Ordering};

use txpostgres::{Cursor, Error, FetchDirection};

use super::deeds::Piecemeal;

/// Known to the connection after its first use.
const KNOWN: &str = "select $1::text";
/// More rows than a portal gives the first time.
const NUMBERS: &str = "select n::int2 from generate_series(1, $1::int) n";
const COPY: &str = "copy ledger from stdin";

impl Piecemeal {
    /// Whether it puts rows into the ledger; if it is dropped before its end, it puts none.
    pub(crate) fn feeds(self) -> bool {
        matches!(self, Self::CopyIn | Self::CopyInFlushed | Self::CopyInAborted | Self::CopyInRows)
    }

    /// `fed` is set in the very poll in which the server is told that the rows are complete.
    pub(crate) async fn perform(
        self,
        cursor: &Cursor,
        token: &str,
        fed: &AtomicBool,
    ) -> Result<(), Error> {
        let line = format!("{token}\n");
        match self {
            Self::Next => {
                let mut stream = cursor.query_stream(NUMBERS, (66_i32,)).limit(1);
                let mut seen = 0;
                while let Some(row) = stream.next().await {
                    seen += 1;
                    assert_eq!(row?.get::<i16>(0)?, seen);
                }
                assert_eq!(seen, 66);
            }
            Self::NextRows => {
                let mut stream = cursor.query_stream(KNOWN, (token,));
                let mut seen = Vec::new();
                while let Some(rows) = stream.next_rows().await? {
                    seen.extend(rows.decode::<(String,)>()?);
                }
                assert_eq!(seen, [(token.to_owned(),)]);
            }
            Self::CopyIn | Self::CopyInFlushed | Self::CopyInAborted => {
                let mut copy = cursor.copy_in(COPY).await?;
                copy.send(&line).await?;
                copy.send(&line).await?;
                if let Self::CopyInFlushed = self {
                    copy.flush().await?;
                }
                if let Self::CopyInAborted = self {
                    return copy.abort("no more").await;
                }
                fed.store(true, Ordering::SeqCst);
                assert_eq!(copy.finish().await?, 2);
            }
            Self::CopyInRows => {
                let mut copy = cursor.copy_in_rows("ledger", &["token"]).await?;
                copy.send((token,)).await?;
                copy.send((token,)).await?;
                fed.store(true, Ordering::SeqCst);
                assert_eq!(copy.finish().await?, 2);
            }
            Self::CopyOut => {
                let sql = format!("copy (values ('{token}')) to stdout");
                let mut copy = cursor.copy_out(&sql).await?;
                let mut seen = Vec::new();
                while let Some(data) = copy.next().await {
                    seen.extend_from_slice(&data?);
                }
                assert_eq!(seen, line.as_bytes());
            }
            Self::CopyOutRows => {
                let mut copy = cursor.copy_out_rows(&format!("values ('{token}')")).await?;
                while let Some(row) = copy.next().await {
                    assert_eq!(row?.get::<String>(0)?, token);
                }
                assert_eq!(copy.row_count(), Some(1));
            }
            Self::Execute => {
                cursor.execute(KNOWN, (token,)).await?;
                assert_eq!(cursor.fetch_all_as::<(String,)>()?, [(token.to_owned(),)]);
            }
            Self::ExecuteMany => {
                let sets = [(token,), (token,), (token,)];
                assert_eq!(cursor.execute_many(KNOWN, sets).await?, 3);
                assert_eq!(cursor.fetch_all()?.len(), 3);
            }
            Self::Callproc => {
                cursor.callproc("lower", (token,)).await?;
                assert_eq!(cursor.fetch_one_as::<(String,)>()?, Some((token.to_owned(),)));
            }
            Self::Batch => {
                let new = format!("select $1::text /* {token} */");
                let batch = cursor.batch().add(KNOWN, (token,)).add("select 1", ());
                let results = batch.add(&new, (token,)).add("select nothing", ()).send().await?;
                let counts: Vec<_> =
                    results.iter().flatten().map(|result| result.rows().len()).collect();
                assert_eq!(counts, [1, 1, 1]);
            }
            Self::Named => return self.named(cursor).await,
        }
        Ok(())
    }

    async fn named(self, cursor: &Cursor) -> Result<(), Error> {
        let builder = cursor.named("c").scroll(true).with_hold(true).rows_ahead(2);
        let mut named = builder.open(NUMBERS, (5_i32,)).await?;
        for n in 1..=3_i16 {
            let row = named.next().await?;
            assert_eq!(row.map(|row| row.get(0)).transpose()?, Some(n));
        }
        assert_eq!(named.fetch_as::<(i16,)>(FetchDirection::Prior).await?, [(2,)]);
        assert_eq!(named.move_to(FetchDirection::Last).await?, 1);
        named.close().await
    }
}

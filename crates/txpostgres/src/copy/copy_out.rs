//! COPY TO STDOUT: data out of a table.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream;
use txpostgres_multiplex::{Chunk, Fetched, SimpleOperation};
use txpostgres_session::{CopyData, CopyLayout, Format, Result};

use super::{BeginCopy, CopyProgress, Meter, begin};
use crate::driver::{Call, Cancellation, Source};

/// A `COPY … TO STDOUT` in progress: see [`Connection::copy_out`](crate::Connection::copy_out).
///
/// It implements [`Stream`]; the data is cut anywhere. A slow reader makes the server wait
/// (backpressure): at most 320 KiB, or one row if that is larger, are buffered. If it is dropped
/// before its end, the COPY is cancelled in the server, and data in flight is discarded. In an
/// interaction, where a cancel would fail the transaction, the rest of the data is read and
/// discarded instead.
///
/// Until it has ended, other calls on the connection wait. If the task that should read the COPY
/// awaits such a call instead, neither can go on: a deadlock. The call then waits until its
/// [`timeout`](crate::RunQuery::timeout) ends it. See [COPY](crate::guide::copy) for how to avoid
/// that.
#[must_use = "a COPY does nothing unless it is read"]
pub struct CopyOut {
    /// `None` after the end.
    call: Option<Call<'static, ()>>,
    layout: CopyLayout,
    meter: Meter,
    rows: Option<u64>,
}

impl CopyOut {
    pub(crate) fn about_to(source: Source, sql: &str) -> BeginCopy<'_, Self> {
        BeginCopy::new(move |cancellation| Self::begin(source, sql, cancellation))
    }

    pub(super) async fn begin(
        source: Source,
        sql: &str,
        cancellation: Option<Box<Cancellation>>,
    ) -> Result<Self> {
        let (call, layout) = begin(source, sql, SimpleOperation::CopyOut, cancellation).await?;
        Ok(Self { call: Some(call), layout, meter: Meter::default(), rows: None })
    }

    /// The format of the data.
    pub fn format(&self) -> Format {
        self.layout.format()
    }

    /// The number of columns of a row.
    pub fn columns(&self) -> usize {
        self.layout.columns()
    }

    /// The progress so far.
    pub fn progress(&self) -> CopyProgress {
        self.meter.progress
    }

    /// Calls `f` whenever there is progress. It runs in the reading task and must not block.
    pub fn on_progress(mut self, f: impl FnMut(CopyProgress) + Send + 'static) -> Self {
        self.meter.callback = Some(Box::new(f));
        self
    }

    /// The next data; `None` after the last. Cancel-safe: if the future is dropped, no data is
    /// lost.
    ///
    /// # Errors
    ///
    /// An error of the server in the middle of the COPY, or the loss of the connection. The stream
    /// ends after an error.
    pub async fn next(&mut self) -> Option<Result<Bytes>> {
        poll_fn(|cx| self.poll_data(cx))
            .await
            .transpose()
            .map(|data| data.map(|data| data.bytes.into()))
    }

    /// The number of rows; `None` before the end.
    pub fn row_count(&self) -> Option<u64> {
        self.rows
    }

    /// Discards the rest.
    pub(super) fn stop(&mut self) {
        self.call = None;
    }

    pub(super) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<CopyData>>> {
        loop {
            let Some(call) = &mut self.call else {
                return Poll::Ready(Ok(None));
            };
            match ready!(call.poll_chunk(cx)) {
                Ok(Fetched::Chunk(Chunk::CopyData(data))) => {
                    // The server sends a message for each row, and in binary format one more for
                    // the end.
                    let rows = (self.layout.format() == Format::Text).then_some(data.messages);
                    self.meter.add(data.bytes.len(), rows);
                    return Poll::Ready(Ok(Some(data)));
                }
                Ok(Fetched::Chunk(_)) => {}
                Ok(Fetched::End(answer)) => {
                    self.call = None;
                    self.rows = Some(answer.row_count());
                    self.meter.progress.rows = self.rows;
                    self.meter.report();
                    return Poll::Ready(Ok(None));
                }
                Err(error) => {
                    self.call = None;
                    return Poll::Ready(Err(error));
                }
            }
        }
    }
}

impl Stream for CopyOut {
    type Item = Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let data = ready!(self.get_mut().poll_data(cx)).transpose();
        Poll::Ready(data.map(|data| data.map(|data| data.bytes.into())))
    }
}

// Nothing in it is pinned.
impl Unpin for CopyOut {}

impl fmt::Debug for CopyOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CopyOut")
            .field("layout", &self.layout)
            .field("progress", &self.meter)
            .finish_non_exhaustive()
    }
}

//! A savepoint around a closure.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;

use txpostgres_multiplex::{Drive, outlived};
use txpostgres_session::{Error, Result};

use super::guard::{Guard, rolled_back};
use super::options::Interaction;
use crate::cursor::Cursor;
use crate::driver::{Call, Scope, Source, TransactionScope};

impl Cursor {
    /// Runs a closure in a savepoint: if it fails, only its own statements are undone, and the
    /// transaction goes on.
    ///
    /// Until it has ended, this cursor must not be used, nor another nested interaction begun:
    /// savepoints are a stack, and calls outside of the innermost one are refused with
    /// [`ErrorKind::Request`](crate::ErrorKind::Request).
    ///
    /// ```no_run
    /// # async fn example(cursor: txpostgres::Cursor) -> txpostgres::Result<()> {
    /// let inserted = cursor
    ///     .run_interaction(async |nested| {
    ///         nested.run_operation("insert into t values ($1)", (1_i32,)).await
    ///     })
    ///     .await
    ///     .is_ok();
    /// # Ok(()) }
    /// ```
    // Not an `async fn`, whose future would state neither that it is `Send` nor what it borrows.
    #[allow(clippy::manual_async_fn)]
    #[doc(alias = "savepoint")]
    pub fn run_interaction<T, E, F, Fut>(
        &self,
        interaction: F,
    ) -> impl Future<Output = Result<T, E>> + Send + use<'_, T, E, F, Fut>
    where
        F: FnOnce(Self) -> Fut + Send,
        Fut: Future<Output = Result<T, E>> + Send,
        T: Send,
        E: From<Error> + Into<Box<dyn StdError + Send + Sync>> + Send,
    {
        async move {
            match self.own_scope() {
                Scope::Transaction(transaction) => run_nested(transaction, interaction).await,
                // Boxed, so that this branch does not enlarge the futures of nested interactions.
                scope => {
                    Box::pin(Interaction::new(Source::Scope(scope.clone())).run(interaction)).await
                }
            }
        }
    }
}

/// Runs a closure in a savepoint of a transaction.
async fn run_nested<T, E, F, Fut>(outer: &Arc<TransactionScope>, interaction: F) -> Result<T, E>
where
    F: FnOnce(Cursor) -> Fut,
    Fut: Future<Output = Result<T, E>>,
    E: From<Error> + Into<Box<dyn StdError + Send + Sync>>,
{
    let name = outer.next_name();
    let scope = Arc::new(TransactionScope::nested(outer, name.clone()));
    let mut level = Level::enter(&scope)?;
    let sql = format!("SAVEPOINT {name}");
    Call::new(Ok(Scope::Transaction(Arc::clone(&scope))), &sql, ()).answer(|_| ()).await?;
    level.is_made = true;
    let guard = Guard::new(&scope);
    match interaction(Cursor::of_transaction(Arc::clone(&scope))).await {
        Ok(_) if outer.has_ended() => Err(outlived().into()),
        Ok(value) => {
            guard.commit().await?;
            Ok(value)
        }
        Err(error) => Err(rolled_back(error, guard.roll_back().await)),
    }
}

/// A savepoint that is being created. Dropped before that, it is no longer the innermost one.
struct Level<'a> {
    scope: &'a TransactionScope,
    /// The savepoint exists: from here on its end leaves the level.
    is_made: bool,
}

impl<'a> Level<'a> {
    fn enter(scope: &'a TransactionScope) -> Result<Self> {
        scope.driver().lock().enter_savepoint(scope.lease(), scope.level())?;
        Ok(Self { scope, is_made: false })
    }
}

impl Drop for Level<'_> {
    fn drop(&mut self) {
        if !self.is_made {
            self.scope.driver().lock().leave_savepoint(self.scope.lease(), self.scope.level());
        }
    }
}

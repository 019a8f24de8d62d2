//! Calls of the harness: each is repeated, the same, for as long as nobody says anything final, and within a bound.

use std::time::Duration;

use tonic::{Code, Response, Status};

use crate::world::now;

/// A caller's own patience with one call, and the pause before it calls again.
pub(crate) const CALL_MAX: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// What a caller was told in the end.
#[derive(Debug)]
pub(crate) enum Answer<T> {
    Given(T),
    /// For good: the next call would be, too.
    Refused(Status),
    /// Nothing, within its patience. What it asked for may have been done. The last word that it heard.
    Unknown(Status),
}

/// Calls until there is an answer, or for so long. Every call must be one that may come again.
pub(crate) async fn repeated<T, F>(patience: Duration, call: impl Fn() -> F) -> Answer<T>
where
    F: Future<Output = Result<Response<T>, Status>>,
{
    let deadline = now() + patience;
    loop {
        // The server keeps to the deadline that it is told, unless it is frozen.
        let answer = tokio::time::timeout(CALL_MAX + CALL_MAX / 2, call()).await;
        let status = match answer {
            Ok(Ok(answer)) => return Answer::Given(answer.into_inner()),
            Ok(Err(status)) if is_final(&status) => return Answer::Refused(status),
            Ok(Err(status)) => status,
            Err(_) => Status::deadline_exceeded("no answer"),
        };
        if now() >= deadline {
            return Answer::Unknown(status);
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn is_final(status: &Status) -> bool {
    matches!(
        status.code(),
        Code::InvalidArgument
            | Code::AlreadyExists
            | Code::FailedPrecondition
            | Code::NotFound
            | Code::PermissionDenied
            | Code::Unauthenticated
            | Code::Unimplemented
    )
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::time::Duration;

    use tonic::{Response, Status};

    use super::{Answer, repeated};

    /// What a caller is told by a server that answers this at its first, second, ... call.
    async fn told(patience: Duration, answers: fn(u32) -> Result<u32, Status>) -> (Answer<u32>, u32) {
        let calls = AtomicU32::new(0);
        let answer = repeated(patience, || {
            let number = calls.fetch_add(1, Ordering::Relaxed) + 1;
            async move { answers(number).map(Response::new) }
        })
        .await;
        (answer, calls.into_inner())
    }

    #[tokio::test]
    async fn who_is_told_nothing_calls_again_until_there_is_an_answer() {
        let answers = |number| match number {
            1 => Err(Status::unavailable("away")),
            2 => Err(Status::deadline_exceeded("late")),
            number => Ok(number),
        };
        let (answer, calls) = told(Duration::from_secs(60), answers).await;
        assert!(matches!(answer, Answer::Given(3)), "{answer:?}");
        assert_eq!(calls, 3);
    }

    #[tokio::test]
    async fn a_refusal_is_not_called_for_again() {
        let (answer, calls) = told(Duration::from_secs(60), |_| Err(Status::not_found("gone"))).await;
        assert!(matches!(answer, Answer::Refused(_)), "{answer:?}");
        assert_eq!(calls, 1);
    }

    #[tokio::test]
    async fn past_its_patience_a_caller_knows_nothing() {
        let (answer, calls) = told(Duration::ZERO, |_| Err(Status::unavailable("away"))).await;
        assert!(matches!(answer, Answer::Unknown(_)), "{answer:?}");
        assert_eq!(calls, 1);
    }
}

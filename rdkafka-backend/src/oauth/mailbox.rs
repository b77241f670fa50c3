//! Tokens for SASL/OAUTHBEARER: from librdkafka's request, over the application's runtime, back to librdkafka.
//!
//! ```text
//! worker              runtime                         control thread
//! ask ──────────────▶ next: the provider's future
//!                     answer ───────────────────────▶ deliver: set the token, or say why there is none
//! ```

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::catch_panic::catch_panic;
use crate::oauth::{Token, TokenError, TokenProvider};
use crate::threads::signals::Signals;

/// Whom tokens go to.
pub(crate) trait TakesTokens {
    /// Takes a token, or says why not.
    fn set_token(&self, token: &Token) -> Result<(), TokenError>;

    /// Hears that there is no token. It asks again some time later.
    fn set_token_failure(&self, error: &TokenError);
}

/// Where requests and answers cross. There is at most one of each.
#[derive(Default)]
pub(crate) struct TokenMailbox(Mutex<State>);

#[derive(Default)]
struct State {
    request: Option<Request>,
    answer: Option<Result<Token, TokenError>>,
    /// Nobody asks any more.
    closed: bool,
    waker: Option<Waker>,
}

struct Request {
    config: String,
    /// Who is to hear of the answer.
    signals: Arc<Signals>,
}

impl TokenMailbox {
    /// librdkafka wants a token.
    pub(crate) fn ask(&self, config: String, signals: Arc<Signals>) {
        self.change(|state| state.request = Some(Request { config, signals }));
    }

    /// The client is at its end.
    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Brings the answer that there is, if any, to `client`.
    pub(crate) fn deliver(&self, client: &impl TakesTokens) {
        let answer = self.lock().answer.take();
        let Some(answer) = answer else { return };
        let taken = answer.and_then(|token| {
            token.check()?;
            client.set_token(&token)
        });
        if let Err(error) = taken {
            client.set_token_failure(&error);
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.lock();
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            catch_panic(|| waker.wake());
        }
    }

    /// What `look` finds; waits for a change if it finds nothing.
    fn poll<T>(&self, cx: &Context<'_>, look: impl FnOnce(&mut State) -> Option<T>) -> Poll<T> {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let found = look(&mut state);
        let unused = if found.is_some() { Some(waker) } else { state.waker.replace(waker) };
        drop(state);
        drop(unused);
        found.map_or(Poll::Pending, Poll::Ready)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has `provider` answer each request, until the client is at its end.
pub(crate) async fn serve(counter: Arc<TokenMailbox>, provider: Arc<dyn TokenProvider>) {
    let next = || {
        poll_fn(|cx| counter.poll(cx, |state| if state.closed { Some(None) } else { state.request.take().map(Some) }))
    };
    while let Some(Request { config, signals }) = next().await {
        let Some(answer) = fetch(&counter, &*provider, &config).await else { return };
        counter.lock().answer = Some(answer);
        signals.token();
    }
}

/// The provider's answer, or `None` if the client ends first. The provider's panic is an answer.
async fn fetch(
    counter: &TokenMailbox,
    provider: &dyn TokenProvider,
    config: &str,
) -> Option<Result<Token, TokenError>> {
    let panicked = || Err(TokenError::new("the token provider panicked"));
    let Some(mut future) = catch_panic(|| provider.token(config)) else { return Some(panicked()) };
    poll_fn(|cx| {
        if counter.poll(cx, |state| state.closed.then_some(())).is_ready() {
            return Poll::Ready(None);
        }
        match catch_panic(|| future.as_mut().poll(cx)) {
            Some(Poll::Pending) => Poll::Pending,
            Some(Poll::Ready(answer)) => Poll::Ready(Some(answer)),
            None => Poll::Ready(Some(panicked())),
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;
    use crate::oauth::TokenFuture;

    type Answer = fn(&str) -> TokenFuture<'_>;

    /// Answers as it was told to.
    struct Provider(Mutex<VecDeque<Answer>>);

    impl TokenProvider for Provider {
        fn token<'a>(&'a self, config: &'a str) -> TokenFuture<'a> {
            let answer = self.0.lock().unwrap().pop_front();
            answer.expect("an answer")(config)
        }
    }

    #[derive(Default)]
    struct Client(Mutex<Vec<String>>);

    impl TakesTokens for Client {
        fn set_token(&self, token: &Token) -> Result<(), TokenError> {
            if token.value() == "expired" {
                return Err(TokenError::new("it has expired"));
            }
            self.0.lock().unwrap().push(format!("token {}", token.value()));
            Ok(())
        }

        fn set_token_failure(&self, error: &TokenError) {
            self.0.lock().unwrap().push(format!("failure: {error}"));
        }
    }

    struct Rig {
        counter: Arc<TokenMailbox>,
        signals: Arc<Signals>,
        client: Client,
        task: Pin<Box<dyn Future<Output = ()>>>,
    }

    impl Rig {
        fn new(answers: &[Answer]) -> Self {
            let counter = Arc::new(TokenMailbox::default());
            let provider = Provider(Mutex::new(answers.iter().copied().collect()));
            let task = Box::pin(serve(Arc::clone(&counter), Arc::new(provider)));
            Self { counter, signals: Arc::new(Signals::new(1)), client: Client::default(), task }
        }

        fn poll(&mut self) -> Poll<()> {
            self.task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }

        /// What the client hears after it asked.
        fn ask(&mut self) -> Vec<String> {
            self.counter.ask("for whom".into(), Arc::clone(&self.signals));
            assert!(self.poll().is_pending());
            if self.signals.requests(Some(Duration::ZERO)).token {
                self.counter.deliver(&self.client);
            }
            std::mem::take(&mut self.client.0.lock().unwrap())
        }
    }

    fn token(value: &str) -> Token {
        Token::new(value, UNIX_EPOCH + Duration::from_secs(1))
    }

    #[test]
    fn s34_a_token_request_is_answered_with_the_token_or_with_why_there_is_none() {
        let mut rig = Rig::new(&[
            |config| Box::pin(async move { Ok(token(config)) }),
            |_| Box::pin(async { Err(TokenError::new("nobody is there")) }),
            |_| Box::pin(async { Err(TokenError::new("")) }),
            |_| panic!("as was asked for"),
            |_| Box::pin(async { panic!("as was asked for") }),
            |_| Box::pin(async { Ok(token("expired")) }),
            |_| Box::pin(async { Ok(token("hunter\0")) }),
            |_| Box::pin(async { Ok(token("again")) }),
        ]);
        assert!(rig.poll().is_pending());
        assert_eq!(rig.ask(), ["token for whom"]);
        assert_eq!(rig.ask(), ["failure: nobody is there"]);
        assert_eq!(rig.ask(), ["failure: no reason was given"]);
        assert_eq!(rig.ask(), ["failure: the token provider panicked"]);
        assert_eq!(rig.ask(), ["failure: the token provider panicked"]);
        assert_eq!(rig.ask(), ["failure: it has expired"]);
        assert_eq!(rig.ask(), ["failure: the token has to be visible ASCII"]);
        assert_eq!(rig.ask(), ["token again"], "after any failure");
        rig.counter.close();
        assert!(rig.poll().is_ready());
    }

    #[test]
    fn a_provider_that_never_answers_ends_with_the_client() {
        let mut rig = Rig::new(&[|_| Box::pin(std::future::pending())]);
        assert!(rig.ask().is_empty());
        rig.counter.close();
        assert!(rig.poll().is_ready());
    }
}

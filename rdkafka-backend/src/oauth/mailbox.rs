//! The way of a token request and its answer.
//!
//! ```text
//! worker              application's runtime           control thread
//! request ──────────▶ the provider's future
//!                     answer ───────────────────────▶ deliver: set the token, or report why there is none
//! ```

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::catch_panic::catch_panic;
use crate::coordination::Signals;
use crate::oauth::provider::TokenProvider;
use crate::oauth::token::{Token, TokenError};

/// What receives tokens: the client.
pub(crate) trait TokenReceiver {
    /// Sets a token, or says why it is invalid.
    fn set_token(&self, token: &Token) -> Result<(), TokenError>;

    /// Reports that there is no token. librdkafka requests another one later.
    fn set_token_failure(&self, error: &TokenError);
}

/// Holds at most one request and one answer.
#[derive(Default)]
pub(crate) struct TokenMailbox(Mutex<State>);

#[derive(Default)]
struct State {
    request: Option<Request>,
    answer: Option<Result<Token, TokenError>>,
    /// There will be no more requests.
    closed: bool,
    waker: Option<Waker>,
}

struct Request {
    config: String,
    /// Notified of the answer.
    signals: Arc<Signals>,
}

impl TokenMailbox {
    /// Requests a token.
    pub(crate) fn request(&self, config: String, signals: Arc<Signals>) {
        self.change(|state| state.request = Some(Request { config, signals }));
    }

    /// Ends the provider's task.
    pub(crate) fn close(&self) {
        self.change(|state| state.closed = true);
    }

    /// Passes the answer to `receiver`, if there is one.
    pub(crate) fn deliver(&self, receiver: &impl TokenReceiver) {
        let answer = self.lock().answer.take();
        let Some(answer) = answer else { return };
        let result = answer.and_then(|token| {
            token.check()?;
            receiver.set_token(&token)
        });
        if let Err(error) = result {
            receiver.set_token_failure(&error);
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

    /// What `look` finds. If it finds nothing, the task waits for a change.
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

/// Answers each request with a token of `provider`, until the mailbox is closed.
pub(crate) async fn serve(mailbox: Arc<TokenMailbox>, provider: Arc<dyn TokenProvider>) {
    let next = || {
        poll_fn(|cx| mailbox.poll(cx, |state| if state.closed { Some(None) } else { state.request.take().map(Some) }))
    };
    while let Some(Request { config, signals }) = next().await {
        let Some(answer) = fetch(&mailbox, &*provider, &config).await else { return };
        mailbox.lock().answer = Some(answer);
        signals.token();
    }
}

/// The provider's answer, or `None` if the mailbox is closed first. A panic of the provider is an answer, too.
async fn fetch(
    mailbox: &TokenMailbox,
    provider: &dyn TokenProvider,
    config: &str,
) -> Option<Result<Token, TokenError>> {
    let panicked = || Err(TokenError::new("the token provider panicked"));
    let Some(mut future) = catch_panic(|| provider.token(config)) else { return Some(panicked()) };
    poll_fn(|cx| {
        if mailbox.poll(cx, |state| state.closed.then_some(())).is_ready() {
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
    use crate::oauth::provider::TokenFuture;

    type Answer = fn(&str) -> TokenFuture<'_>;

    /// Gives these answers in turn.
    struct Provider(Mutex<VecDeque<Answer>>);

    impl TokenProvider for Provider {
        fn token<'a>(&'a self, config: &'a str) -> TokenFuture<'a> {
            let answer = self.0.lock().unwrap().pop_front();
            answer.expect("an answer")(config)
        }
    }

    #[derive(Default)]
    struct Client(Mutex<Vec<String>>);

    impl TokenReceiver for Client {
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
        mailbox: Arc<TokenMailbox>,
        signals: Arc<Signals>,
        client: Client,
        task: Pin<Box<dyn Future<Output = ()>>>,
    }

    impl Rig {
        fn new(answers: &[Answer]) -> Self {
            let mailbox = Arc::new(TokenMailbox::default());
            let provider = Provider(Mutex::new(answers.iter().copied().collect()));
            let task = Box::pin(serve(Arc::clone(&mailbox), Arc::new(provider)));
            Self { mailbox, signals: Arc::new(Signals::new(1)), client: Client::default(), task }
        }

        fn poll(&mut self) -> Poll<()> {
            self.task.as_mut().poll(&mut Context::from_waker(Waker::noop()))
        }

        /// What the client receives for a request.
        fn request(&mut self) -> Vec<String> {
            self.mailbox.request("orders".into(), Arc::clone(&self.signals));
            assert!(self.poll().is_pending());
            if self.signals.requests(Some(Duration::ZERO)).token {
                self.mailbox.deliver(&self.client);
            }
            std::mem::take(&mut self.client.0.lock().unwrap())
        }
    }

    fn token(value: &str) -> Token {
        Token::new(value, UNIX_EPOCH + Duration::from_secs(1))
    }

    #[test]
    fn s34_a_token_request_is_answered_with_a_token_or_a_reason() {
        let mut rig = Rig::new(&[
            |config| Box::pin(async move { Ok(token(config)) }),
            |_| Box::pin(async { Err(TokenError::new("no connection")) }),
            |_| Box::pin(async { Err(TokenError::new("")) }),
            |_| panic!("on purpose"),
            |_| Box::pin(async { panic!("on purpose") }),
            |_| Box::pin(async { Ok(token("expired")) }),
            |_| Box::pin(async { Ok(token("hunter\0")) }),
            |_| Box::pin(async { Ok(token("again")) }),
        ]);
        assert!(rig.poll().is_pending());
        assert_eq!(rig.request(), ["token orders"]);
        assert_eq!(rig.request(), ["failure: no connection"]);
        assert_eq!(rig.request(), ["failure: no reason was given"]);
        assert_eq!(rig.request(), ["failure: the token provider panicked"]);
        assert_eq!(rig.request(), ["failure: the token provider panicked"]);
        assert_eq!(rig.request(), ["failure: it has expired"]);
        assert_eq!(rig.request(), ["failure: the token must be visible ASCII and not empty"]);
        assert_eq!(rig.request(), ["token again"], "after any failure");
        rig.mailbox.close();
        assert!(rig.poll().is_ready());
    }

    #[test]
    fn a_pending_provider_ends_with_the_client() {
        let mut rig = Rig::new(&[|_| Box::pin(std::future::pending())]);
        assert!(rig.request().is_empty());
        rig.mailbox.close();
        assert!(rig.poll().is_ready());
    }
}

//! S36, S37, S39: the machine of transactions, step by step, and at random against a librdkafka that is strict about what
//! may be called when.

use aioproducer_core::{CallOutcome, Step, Transaction, TransactionId, TransactionRefusal, TransactionStatus};
use proptest::prelude::*;

fn answer(machine: &mut Transaction, step: Step, verdict: CallOutcome) {
    assert_eq!(machine.poll_call(0), Some(step));
    assert_eq!(machine.poll_call(0), None, "one call at a time");
    machine.handle_answer(verdict);
}

fn open() -> (Transaction, TransactionId) {
    let mut machine = Transaction::new();
    let id = machine.begin().unwrap();
    answer(&mut machine, Step::Init, CallOutcome::Done);
    answer(&mut machine, Step::Begin, CallOutcome::Done);
    assert_eq!(machine.status(id), TransactionStatus::Open);
    (machine, id)
}

#[test]
fn s36_init_is_called_once_and_begin_each_time() {
    let (mut machine, first) = open();
    assert_eq!(machine.begin(), Err(TransactionRefusal::AlreadyOpen));
    machine.abort(first).unwrap();
    answer(&mut machine, Step::Abort, CallOutcome::Done);
    assert_eq!(machine.poll_call(0), None);
    assert_eq!(machine.status(first), TransactionStatus::Over);
    let second = machine.begin().unwrap();
    assert_ne!(first, second);
    assert_eq!(machine.commit(first), Err(TransactionRefusal::Over), "another's");
    machine.abandon(first);
    answer(&mut machine, Step::Begin, CallOutcome::Done);
    assert_eq!(machine.status(second), TransactionStatus::Open);
}

#[test]
fn s36_an_init_that_failed_can_be_repeated() {
    let mut machine = Transaction::new();
    machine.init().unwrap();
    let id = machine.begin().unwrap();
    answer(&mut machine, Step::Init, CallOutcome::Retry);
    assert_eq!((machine.status(id), machine.is_initialized()), (TransactionStatus::Over, false));
    assert_eq!(machine.poll_call(0), None, "nothing was asked for");
    machine.init().unwrap();
    answer(&mut machine, Step::Init, CallOutcome::Done);
    assert!(machine.is_initialized());
    machine.init().unwrap();
    assert_eq!(machine.poll_call(0), None, "once is enough");
}

#[test]
fn s36_an_abandoned_transaction_is_aborted_and_the_next_waits_for_that() {
    let (mut machine, first) = open();
    machine.abandon(first);
    assert!(machine.is_aborting() && !machine.admits());
    let second = machine.begin().unwrap();
    assert_eq!(machine.poll_call(7), Some(Step::Abort));
    machine.handle_answer(CallOutcome::Done);
    assert_eq!(machine.poll_call(7), None, "records of the first have no outcome yet");
    assert_eq!(machine.status(second), TransactionStatus::Beginning);
    answer(&mut machine, Step::Begin, CallOutcome::Done);
    assert_eq!(machine.status(second), TransactionStatus::Open);
}

#[test]
fn s36_a_begin_that_is_abandoned_on_its_way_leaves_nothing_open() {
    let mut machine = Transaction::new();
    let id = machine.begin().unwrap();
    answer(&mut machine, Step::Init, CallOutcome::Done);
    assert_eq!(machine.poll_call(0), Some(Step::Begin));
    machine.abandon(id);
    machine.handle_answer(CallOutcome::Done);
    answer(&mut machine, Step::Abort, CallOutcome::Done);
    assert_eq!(machine.poll_call(0), None);
}

#[test]
fn s37_a_commit_waits_for_all_records_and_not_for_one_that_failed() {
    let (mut machine, id) = open();
    machine.commit(id).unwrap();
    assert!(!machine.admits(), "no record comes late");
    assert_eq!(machine.poll_call(2), None);
    machine.handle_failed();
    assert_eq!(machine.poll_call(0), None, "never committed");
    assert_eq!((machine.status(id), machine.failed()), (TransactionStatus::Failed, 1));
    assert_eq!(machine.commit(id), Err(TransactionRefusal::MustAbort));
    machine.abort(id).unwrap();
    answer(&mut machine, Step::Abort, CallOutcome::Done);
    assert_eq!(machine.poll_call(0), None);
    machine.begin().unwrap();
    answer(&mut machine, Step::Begin, CallOutcome::Done);
    assert_eq!(machine.failed(), 0);
}

#[test]
fn s39_a_commit_in_doubt_can_only_be_called_again() {
    let (mut machine, id) = open();
    machine.commit(id).unwrap();
    answer(&mut machine, Step::Commit, CallOutcome::Retry);
    assert_eq!(machine.status(id), TransactionStatus::InDoubt);
    assert_eq!(machine.abort(id), Err(TransactionRefusal::InDoubt));
    machine.abandon(id);
    assert_eq!(machine.begin(), Err(TransactionRefusal::InDoubt));
    assert_eq!(machine.poll_call(0), None);
    let again = machine.adopt().unwrap();
    assert_eq!(machine.adopt(), None, "one holder");
    machine.commit(again).unwrap();
    answer(&mut machine, Step::Commit, CallOutcome::Done);
    assert_eq!(machine.status(again), TransactionStatus::Committed);
    machine.acknowledge(again);
    assert!(machine.begin().is_ok());
}

#[test]
fn s39_the_next_holder_learns_of_a_commit_whose_caller_is_gone() {
    for (verdict, standing) in
        [(CallOutcome::Done, TransactionStatus::Committed), (CallOutcome::Abort, TransactionStatus::Failed)]
    {
        let (mut machine, id) = open();
        machine.commit(id).unwrap();
        assert_eq!(machine.poll_call(0), Some(Step::Commit));
        machine.abandon(id);
        machine.handle_answer(verdict);
        assert_eq!(machine.poll_call(0), None);
        assert_eq!(machine.begin(), Err(TransactionRefusal::InDoubt), "not silently");
        let id = machine.adopt().unwrap();
        assert_eq!(machine.status(id), standing);
    }
}

#[test]
fn s39_an_error_that_leaves_only_the_abort() {
    let (mut machine, id) = open();
    machine.handle_error(id, CallOutcome::Retry);
    assert!(machine.admits());
    machine.handle_error(id, CallOutcome::Abort);
    assert!(!machine.admits());
    assert_eq!(machine.commit(id), Err(TransactionRefusal::MustAbort));
    machine.abort(id).unwrap();
    answer(&mut machine, Step::Abort, CallOutcome::Retry);
    assert_eq!(machine.status(id), TransactionStatus::AbortFailed);
    machine.abandon(id);
    let next = machine.begin().unwrap();
    answer(&mut machine, Step::Abort, CallOutcome::Done);
    answer(&mut machine, Step::Begin, CallOutcome::Done);
    assert_eq!(machine.status(next), TransactionStatus::Open);
}

#[test]
fn s39_after_a_fatal_error_nothing_is_called() {
    let (mut machine, id) = open();
    machine.commit(id).unwrap();
    answer(&mut machine, Step::Commit, CallOutcome::Fatal);
    assert!(machine.is_fatal());
    assert_eq!(machine.abort(id), Err(TransactionRefusal::Fatal));
    assert_eq!(machine.begin(), Err(TransactionRefusal::Fatal));
    assert_eq!(machine.init(), Err(TransactionRefusal::Fatal));
    machine.close();
    assert_eq!(machine.poll_call(0), None);
    assert!(machine.is_settled());
}

#[test]
fn s25_closing_aborts_what_is_open_and_lets_a_commit_go_on() {
    let (mut machine, id) = open();
    machine.close();
    assert!(!machine.is_settled());
    answer(&mut machine, Step::Abort, CallOutcome::Done);
    assert_eq!(machine.poll_call(0), None);
    assert!(machine.is_settled());
    assert_eq!(machine.commit(id), Err(TransactionRefusal::Over));
    assert_eq!(machine.begin(), Err(TransactionRefusal::Closed));

    let (mut machine, id) = open();
    machine.commit(id).unwrap();
    machine.close();
    answer(&mut machine, Step::Commit, CallOutcome::Done);
    assert_eq!(machine.status(id), TransactionStatus::Committed);
    assert!(machine.is_settled());
}

#[test]
fn s39_the_end_of_the_backend_leaves_a_commit_in_doubt() {
    let (mut machine, id) = open();
    machine.commit(id).unwrap();
    assert_eq!(machine.poll_call(0), Some(Step::Commit));
    machine.handle_end();
    machine.handle_answer(CallOutcome::Done);
    assert_eq!(machine.status(id), TransactionStatus::InDoubt, "a late answer says nothing");
    assert_eq!(machine.commit(id), Err(TransactionRefusal::Closed));
    assert_eq!(machine.poll_call(0), None);
}

/// librdkafka, as far as it says what may be called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Native {
    Fresh,
    Ready,
    InTransaction,
    /// A commit that may only be resumed.
    Resumable,
    Failed,
    /// An abort that may only be resumed.
    HalfAborted,
    Fatal,
}

#[derive(Clone, Debug)]
enum Action {
    Init,
    Begin,
    Commit,
    Abort,
    Acknowledge,
    Abandon,
    Adopt,
    Close,
    Produce,
    Report { failed: bool },
    Answer(CallOutcome),
    Error(CallOutcome),
}

fn action() -> impl Strategy<Value = Action> {
    let verdict = prop_oneof![
        8 => Just(CallOutcome::Done),
        3 => Just(CallOutcome::Retry),
        2 => Just(CallOutcome::Abort),
        1 => Just(CallOutcome::Refused),
    ];
    let verdict = prop_oneof![40 => verdict, 1 => Just(CallOutcome::Fatal)];
    prop_oneof![
        1 => Just(Action::Init),
        6 => Just(Action::Begin),
        6 => Just(Action::Commit),
        3 => Just(Action::Abort),
        4 => Just(Action::Acknowledge),
        2 => Just(Action::Abandon),
        3 => Just(Action::Adopt),
        6 => Just(Action::Produce),
        8 => prop::bool::weighted(0.1).prop_map(|failed| Action::Report { failed }),
        16 => verdict.clone().prop_map(Action::Answer),
        1 => verdict.prop_map(Action::Error),
    ]
}

struct Walk {
    machine: Transaction,
    native: Native,
    id: Option<TransactionId>,
    out: Option<Step>,
    outstanding: usize,
    /// Records and failures of the transaction that is open.
    failed: bool,
    closed: bool,
}

impl Walk {
    fn new() -> Self {
        let machine = Transaction::new();
        Self { machine, native: Native::Fresh, id: None, out: None, outstanding: 0, failed: false, closed: false }
    }

    fn poll(&mut self) {
        let Some(step) = self.machine.poll_call(self.outstanding) else { return };
        assert_eq!(self.out, None, "one call at a time");
        let legal = match step {
            Step::Init => self.native == Native::Fresh,
            Step::Begin => self.native == Native::Ready && self.outstanding == 0,
            Step::Commit => {
                assert!(!self.failed && self.outstanding == 0, "a commit without all deliveries");
                matches!(self.native, Native::InTransaction | Native::Resumable)
            }
            Step::Abort => matches!(self.native, Native::InTransaction | Native::Failed | Native::HalfAborted),
        };
        assert!(legal, "{step:?} while librdkafka is {:?}", self.native);
        self.out = Some(step);
    }

    fn answer(&mut self, verdict: CallOutcome) {
        let Some(step) = self.out.take() else { return };
        self.native = match (step, verdict) {
            (_, CallOutcome::Fatal) => Native::Fatal,
            (Step::Init, CallOutcome::Done) => Native::Ready,
            (Step::Begin, CallOutcome::Done) => {
                self.failed = false;
                Native::InTransaction
            }
            (Step::Commit | Step::Abort, CallOutcome::Done) => Native::Ready,
            (Step::Commit, CallOutcome::Retry) => Native::Resumable,
            (Step::Commit, _) => Native::Failed,
            (Step::Abort, _) => Native::HalfAborted,
            // A begin that asks for an abort has left something to abort.
            (Step::Begin, CallOutcome::Abort) => Native::Failed,
            (Step::Init | Step::Begin, _) => self.native,
        };
        self.machine.handle_answer(verdict);
        self.poll();
    }

    fn take(&mut self, action: Action) {
        match action {
            Action::Init => drop(self.machine.init()),
            Action::Begin => {
                if let Ok(id) = self.machine.begin() {
                    self.id = Some(id);
                }
            }
            Action::Commit => drop(self.id.map(|id| self.machine.commit(id))),
            Action::Abort => drop(self.id.map(|id| self.machine.abort(id))),
            Action::Acknowledge => {
                if let Some(id) = self.id {
                    self.machine.acknowledge(id);
                }
            }
            Action::Abandon => {
                if let Some(id) = self.id.take() {
                    self.machine.abandon(id);
                }
            }
            Action::Adopt => {
                if let Some(id) = self.machine.adopt() {
                    self.id = Some(id);
                }
            }
            Action::Close => {
                self.machine.close();
                self.closed = true;
            }
            Action::Produce => {
                if self.machine.admits() {
                    assert_eq!(self.native, Native::InTransaction, "a record outside of a transaction");
                    self.outstanding += 1;
                }
            }
            Action::Report { failed } => {
                if self.outstanding > 0 {
                    self.outstanding -= 1;
                    if failed && !self.machine.is_aborting() {
                        self.failed = true;
                        self.machine.handle_failed();
                    }
                }
            }
            Action::Answer(verdict) => self.answer(verdict),
            Action::Error(verdict) => {
                if let Some(id) = self.id
                    && self.native == Native::InTransaction
                    && self.machine.status(id) == TransactionStatus::Open
                {
                    self.machine.handle_error(id, verdict);
                    match verdict {
                        CallOutcome::Abort => self.native = Native::Failed,
                        CallOutcome::Fatal => self.native = Native::Fatal,
                        _ => {}
                    }
                }
            }
        }
        self.poll();
        if self.native == Native::Fatal {
            assert!(self.machine.is_fatal() && self.machine.begin().is_err() && self.machine.poll_call(0).is_none());
        }
    }

    /// When everything answers well from here on, a new transaction can be had: by what the refusals say.
    fn recover(mut self) {
        while self.outstanding > 0 {
            self.take(Action::Report { failed: false });
        }
        for _ in 0..20 {
            self.answer(CallOutcome::Done);
            if self.native == Native::Fatal {
                return;
            }
            match self.id.map_or(TransactionStatus::Over, |id| self.machine.status(id)) {
                TransactionStatus::Open if !self.failed => return,
                TransactionStatus::Open | TransactionStatus::InDoubt => self.take(Action::Commit),
                TransactionStatus::Failed | TransactionStatus::AbortFailed => self.take(Action::Abort),
                TransactionStatus::Committed => self.take(Action::Acknowledge),
                TransactionStatus::Over => match self.machine.begin() {
                    Ok(id) => {
                        self.id = Some(id);
                        self.poll();
                    }
                    Err(TransactionRefusal::InDoubt) => self.take(Action::Adopt),
                    Err(refusal) => panic!("{refusal:?}: {:?}", self.machine),
                },
                TransactionStatus::Beginning | TransactionStatus::Committing | TransactionStatus::Aborting => {}
            }
        }
        panic!("a dead end: {:?}", self.machine);
    }
}

proptest! {
    #[test]
    fn s39_no_walk_makes_an_illegal_call_or_ends_in_a_dead_end(actions in prop::collection::vec(action(), 0..120)) {
        let mut walk = Walk::new();
        for action in actions {
            walk.take(action);
        }
        walk.recover();
    }

    #[test]
    fn s25_every_walk_can_be_closed(actions in prop::collection::vec(action(), 0..80)) {
        let mut walk = Walk::new();
        for action in actions {
            walk.take(action);
        }
        walk.take(Action::Close);
        for _ in 0..5 {
            while walk.outstanding > 0 {
                walk.take(Action::Report { failed: false });
            }
            walk.answer(CallOutcome::Done);
        }
        assert!(walk.machine.is_settled() && walk.out.is_none(), "{:?}", walk.machine);
        assert!(walk.machine.begin().is_err());
        assert_ne!(walk.native, Native::InTransaction, "it was aborted");
    }
}

#[test]
fn s25_a_close_aborts_what_can_not_be_committed_any_more() {
    for part in [false, true] {
        let (mut machine, id) = open();
        machine.commit(id).unwrap();
        machine.close();
        assert_eq!(machine.poll_call(1), None, "a record has no outcome");
        if part {
            machine.handle_error(id, CallOutcome::Abort);
        } else {
            machine.handle_failed();
        }
        assert!(!machine.is_settled(), "the close waits for it");
        answer(&mut machine, Step::Abort, CallOutcome::Done);
        assert_eq!(machine.poll_call(0), None);
        assert!(machine.is_settled());
    }
}
